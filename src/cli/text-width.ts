/** Text on a terminal: how wide it is, and what of it is safe to show. */

/** Characters of two columns: East Asian ones, and pictures. Rather too many: a line may be shorter than its room. */
const WIDE =
  /[\u1100-\u115f\u2329\u232a\u2630-\u2637\u268a-\u268f\u2e80-\u303e\u3040-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18dff}\u{18e00}-\u{191ff}\u{1aff0}-\u{1b2ff}\u{1d300}-\u{1d37f}\u{1f1ae}-\u{1f265}\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}\p{Emoji_Presentation}]/u;
/** Marks that stand on the character before them. U+FE0F is not one of them: it makes that one wider. */
const MARK = /(?!\ufe0f)[\p{Mn}\p{Me}]/u;
/** What a terminal would take for a command, or what turns the text around it. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

/** The columns that a text of one line takes, at the most. */
export function textWidth(text: string): number {
  if (/^\p{ASCII}*$/u.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += widthOfCharacter(character);
  return width;
}

function widthOfCharacter(character: string): number {
  if (WIDE.test(character)) return 2;
  return MARK.test(character) ? 0 : 1;
}

/** A text of another program, of which nothing commands a terminal. */
export function safeText(text: string): string {
  return text.replaceAll(UNSAFE, "?");
}

/** As much of a text as has room in so many columns; with an ellipsis where that is not all. */
export function cutText(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  let [result, width] = ["", 1];
  for (const character of text) {
    width += widthOfCharacter(character);
    if (width > columns) break;
    result += character;
  }
  return columns < 1 ? "" : `${result}…`;
}
