/** What a caller can do something about; one line each. */
export class EdgerecError extends Error {
  constructor(message) {
    super(message);
    this.name = new.target.name;
  }
}
/** A bundle is damaged, unsafe or of another format. */
export class BundleError extends EdgerecError {}
/** A wrong argument. */
export class ConfigError extends EdgerecError {}
/** A wrong event, or a store that cannot be used. */
export class DataError extends EdgerecError {}
