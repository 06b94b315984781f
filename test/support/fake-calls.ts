/** The calls of a fake machine: which were made, and which are to fail. */
export class FakeCalls<Name extends string> {
  /** The name of every call, in order. */
  readonly names: Name[] = [];
  #failAt: { index: number; code: number } | undefined;
  readonly #refusals: { name: Name; code: number; when: (args: readonly unknown[]) => boolean }[] = [];

  /** The call with that index (0 = the next one) fails with `code`, once. */
  failAt(index: number, code: number): void {
    this.#failAt = { index: this.names.length + index, code };
  }

  /** Every call of that name fails with `code`, where `when` says so. */
  refuse(name: Name, code: number, when: (args: readonly unknown[]) => boolean = () => true): void {
    this.#refusals.push({ name, code, when });
  }

  /** Notes a call; the code that it is to fail with, or undefined. */
  begin(name: Name, ...args: readonly unknown[]): number | undefined {
    const index = this.names.push(name) - 1;
    if (this.#failAt?.index === index) {
      const { code } = this.#failAt;
      this.#failAt = undefined;
      return code;
    }
    return this.#refusals.find((refusal) => refusal.name === name && refusal.when(args))?.code;
  }
}
