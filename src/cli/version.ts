/**
 * The version of the package. Written out, because a process may not be allowed to read package.json; a test compares the
 * two.
 */
export const VERSION = "0.1.0";
