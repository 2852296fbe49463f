/** The sounds of calling, made of oscillators: there are no audio files to load, and nothing for a strict content policy to forbid. */

type Sound = "ring" | "ringback";

let context: AudioContext | null = null;

/** Browsers let a page make sound only after a click or a key; called on the first one, so that a later incoming call can be heard. */
export function unlockSound(): void {
  try {
    context ??= new AudioContext();
    if (context.state === "suspended") void context.resume().catch(() => undefined);
  } catch {
    context = null; // no audio device: the title and the vibration have to do
  }
}

function burst(audio: AudioContext, output: AudioNode, frequency: number, start: number, length: number, loudness: number): void {
  const tone = audio.createOscillator();
  const envelope = audio.createGain();
  tone.frequency.value = frequency;
  envelope.gain.setValueAtTime(0, start);
  envelope.gain.linearRampToValueAtTime(loudness, start + 0.02); // ramps, because a step is heard as a click
  envelope.gain.setValueAtTime(loudness, start + length - 0.04);
  envelope.gain.linearRampToValueAtTime(0, start + length);
  tone.connect(envelope).connect(output);
  tone.start(start);
  tone.stop(start + length);
}

/** One round of a sound; returns after how many milliseconds the next one is due. */
function round(sound: Sound, output: AudioNode | null): number {
  const audio = context;
  if (audio !== null && output !== null && audio.state === "running") {
    const start = audio.currentTime + 0.05;
    if (sound === "ring") {
      for (const at of [0, 1.1]) {
        for (let step = 0; step < 8; step++) burst(audio, output, step % 2 === 0 ? 784 : 988, start + at + step * 0.1, 0.1, 0.16);
      }
    } else {
      burst(audio, output, 425, start, 1, 0.07); // ITU-T E.180, Europe: one second in five
    }
  }
  if (sound === "ring" && "vibrate" in navigator) navigator.vibrate([700, 400, 700]);
  return sound === "ring" ? 3600 : 5000;
}

/** Plays a sound over and over, for an incoming call also in the tab's title, until the returned function is called. */
export function startSound(sound: Sound, title?: string): () => void {
  unlockSound();
  let output: GainNode | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  function next(): void {
    if (context !== null && output === null) {
      output = context.createGain();
      output.connect(context.destination);
    }
    timer = setTimeout(next, round(sound, output));
  }
  next();
  const before = document.title;
  if (title !== undefined) document.title = title;
  return () => {
    clearTimeout(timer);
    output?.disconnect(); // also silences what is scheduled
    if (sound === "ring" && "vibrate" in navigator) navigator.vibrate(0);
    if (title !== undefined && document.title === title) document.title = before;
  };
}
