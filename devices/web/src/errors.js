/** Control characters and line ends: what a file brought may stand in a message. */
const BREAKS = /[\x00-\x1f\x7f-\x9f\u2028\u2029]+/g;

/** An error that a caller can do something about; its message is one line. */
export class EdgerecError extends Error {
  constructor(message) {
    super(String(message).replace(BREAKS, " "));
    this.name = new.target.name;
  }
}
/** A bundle is damaged, unsafe or of another format. */
export class BundleError extends EdgerecError {}
/** An argument is not valid. */
export class ConfigError extends EdgerecError {}
/** An event is not valid, or a store cannot be used. */
export class DataError extends EdgerecError {}
