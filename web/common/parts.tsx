/** What both pages are made of: the demo and the operators' page. No words of their own. */
import { Component, type ComponentChildren } from "preact";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";

/** Runs an action once at a time, and keeps its failure. */
export function useAction() {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const running = useRef(false);
  async function run(action: () => Promise<unknown>): Promise<boolean> {
    if (running.current) return false;
    running.current = true;
    setBusy(true);
    setError(null);
    try {
      await action();
      return true;
    } catch (failure) {
      setError(failure);
      return false;
    } finally {
      running.current = false;
      setBusy(false);
    }
  }
  return { busy, error, run };
}

export interface FieldAttributes { id: string; "aria-describedby"?: string; "aria-invalid"?: "true" }
interface FieldProps { label: string; hint?: string | undefined; error?: string | null; children: (attributes: FieldAttributes) => ComponentChildren }
/** A label, its control, a hint, and what is wrong with the input: read out when it appears, and again with the control. */
export function Field({ label, hint, error = null, children }: FieldProps) {
  const id = useId();
  const described = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, ...(described ? { "aria-describedby": described } : {}), ...(error ? { "aria-invalid": "true" as const } : {}) })}
      {hint ? <span class="hint" id={`${id}-hint`}>{hint}</span> : null}
      <div role="alert" id={`${id}-error`}>{error ? <Problem>{error}</Problem> : null}</div>
    </div>
  );
}

/** What went wrong, with the sign for it. */
export function Problem({ children }: { children: ComponentChildren }) {
  return (
    <p class="error">
      <svg class="icon" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
        <path d="M12 4 2.500 20h19ZM12 10v4.500M12 17.400v.1" />
      </svg>
      <span>{children}</span>
    </p>
  );
}

/** A modal dialog: the browser keeps the focus inside and gives it back. Only its owner closes it. */
export function Modal({ label, kind, onCancel, children }: { label: string; kind: "sheet" | "full"; onCancel?: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const element = dialog.current;
    if (element && !element.open) element.showModal();
    return () => element?.close();
  }, []);
  // A browser may close a dialog on the second Escape whatever the page says; as long as it is part of the page it is opened again.
  function reopen() {
    const element = dialog.current;
    if (element?.isConnected && !element.open) element.showModal();
  }
  function escape(event: KeyboardEvent) {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    onCancel?.();
  }
  return (
    <dialog ref={dialog} class={kind} aria-label={label} onKeyDown={escape} onClose={reopen}
      onCancel={(event) => { event.preventDefault(); onCancel?.(); }}>
      {children}
    </dialog>
  );
}

/** Milliseconds since the epoch, anew every second while `active`. */
export function useNow(active = true): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!active) return;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [active]);
  return now;
}

/** Runs an asynchronous read when the view opens, and again when `of` changes. */
export function useLoaded<T>(read: () => Promise<T>, of: unknown = null): { value: T | null; error: unknown; again: () => void } {
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [round, setRound] = useState(0);
  useEffect(() => {
    let current = true;
    setError(null);
    read().then((result) => { if (current) setValue(() => result); }, (failure: unknown) => { if (current) setError(failure); });
    return () => { current = false; };
  }, [round, of]);
  return { value, error, again: () => setRound((before) => before + 1) };
}

interface GuardProps { failed: () => ComponentChildren; children: ComponentChildren }
/** Shows something else in the place of children that cannot be drawn; everything around them goes on, such as a call. A new `key` tries again. */
export class Guard extends Component<GuardProps, { broken: boolean }> {
  override state = { broken: false };
  static override getDerivedStateFromError(): { broken: boolean } {
    return { broken: true };
  }
  override render(): ComponentChildren {
    return this.state.broken ? this.props.failed() : this.props.children;
  }
}

/** Hands a file to the browser's downloads. */
export function download(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // a browser may begin to read it later than this
}

/** The parts of `#/one/two`. */
export function useRoute(): string[] {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => {
      setHash(location.hash);
      scrollTo(0, 0);
    };
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return hash.replace(/^#\/?/u, "").split("/").filter(Boolean);
}
