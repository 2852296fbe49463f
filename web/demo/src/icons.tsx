/** Line icons, drawn for a 24 by 24 grid. They say nothing to a screen reader: the text beside them does. */
const paths = {
  phone: "M6.6 3.5 9 4l1.2 4-2 1.7a13 13 0 0 0 6.1 6.1l1.7-2 4 1.2.5 2.4a2.4 2.4 0 0 1-2.4 3C10.800 20.400 3.600 13.200 3.600 5.900a2.400 2.400 0 0 1 3-2.400Z",
  end: "M3 14.500c0-6 18-6 18 0l-1 2.500-4.500-1v-2.500a13 13 0 0 0-7 0V16L4 17Z",
  mic: "M12 15a3.500 3.500 0 0 0 3.500-3.500v-5a3.500 3.500 0 0 0-7 0v5A3.500 3.500 0 0 0 12 15ZM5.500 11.500a6.500 6.500 0 0 0 13 0M12 18v3",
  muted: "M8.500 8.500v3A3.500 3.500 0 0 0 14 14.400M15.500 11V6.500a3.500 3.500 0 0 0-6.800-1.200M5.500 11.500a6.500 6.500 0 0 0 10 5.500M12 18v3M4 4l16 16",
  hold: "M9 5v14M15 5v14",
  people: "M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7ZM2.500 20a6.500 6.500 0 0 1 13 0M16 4.300a3.500 3.500 0 0 1 0 6.400M18 14.200a6.500 6.500 0 0 1 3.500 5.800",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 7v5l3.500 2",
  settings: "M4 7h9M18 7h2M4 17h2M11 17h9M15.500 9.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5ZM8.500 19.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5Z",
  lock: "M6 11h12v9H6ZM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  shield: "M12 3 4.500 6v5.500c0 4.500 3 8 7.500 9.500 4.500-1.500 7.500-5 7.500-9.500V6ZM8.500 12l2.500 2.500 4.500-5",
  warning: "M12 4 2.500 20h19ZM12 10v4.500M12 17.400v.1",
  device: "M7 2.500h10v19H7ZM11 18.500h2",
  out: "M7 17 17 7M9 7h8v8",
  in: "M17 7 7 17M7 9v8h8",
  trash: "M4 7h16M9 7V4h6v3M6.500 7l1 13.500h9l1-13.500",
  back: "M14.500 5 8 12l6.500 7",
} as const;

export type IconName = keyof typeof paths;

/** Those that point along the line: the other way where one reads from right to left. */
const TURNS: ReadonlySet<IconName> = new Set<IconName>(["in", "out", "back"]);

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class={TURNS.has(name) ? "icon turns" : "icon"} viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
