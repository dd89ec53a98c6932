/** Where a part of the program logs what it does. Any text may be passed: the writer neutralises it. */
export interface Log {
  info(text: string): void;
  warning(text: string): void;
  /** Shown only where somebody looks for details. */
  debug(text: string): void;
}
