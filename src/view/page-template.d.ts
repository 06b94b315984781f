/**
 * The page without its data, which `scripts/viewer.js` makes of the folder `viewer/`: three texts, between which the title
 * and the data go.
 */
export declare const pageTemplate: readonly [beforeTitle: string, beforeData: string, afterData: string];
