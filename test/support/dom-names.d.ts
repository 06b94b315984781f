/**
 * The names of a browser's types that the types of playwright-core mention. Tests run on Node: they ask a page by text, and
 * have no elements in their hands, so that the names are enough. All of the library `dom` would let any file of the project
 * use a browser's globals.
 */
type Node = object;
type HTMLElement = object;
type SVGElement = object;
type HTMLElementTagNameMap = Record<string, object>;
