/** Fields first, then the sentence. */
export type LogMethod = (fields: object, message?: string) => void;

/** The part of pino's interface that the house uses: object first, sentence second. */
export interface Logger {
  debug: LogMethod;
  info: LogMethod;
  warn: LogMethod;
  error: LogMethod;
  /** One that adds these fields to everything it says. */
  child(bindings: object): Logger;
}

const nothing: LogMethod = () => {};

/** Says nothing; the default, because a library takes a logger and never makes one. */
export const silentLogger: Logger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => silentLogger,
};
