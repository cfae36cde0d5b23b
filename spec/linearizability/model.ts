/** A sequential object: what a history is compared with. Pure. */
export interface Model<State, Input, Output> {
  readonly initial: State;
  /**
   * @param output what the client was told; `undefined` when nobody knows, which fits every state
   * @returns whether the output fits the state, and the state afterwards
   */
  step(state: State, input: Input, output: Output | undefined): readonly [fits: boolean, next: State];
  /** Equal for equal states and for no others. */
  key(state: State): string;
  /** Whether an operation that was told this cannot have changed any state. */
  readsOnly?(input: Input, output: Output): boolean;
  /** Which independent object the operation is about; absent: all are about one. */
  partition?(input: Input): string;
  /** What the operation leaves to be seen when it takes effect, and nothing else leaves; `undefined` for none. */
  mark?(input: Input): string | undefined;
  /** The marks that the output shows or that the operation needs for its effect. */
  shown?(input: Input, output: Output | undefined): readonly string[];
  describe(input: Input, output: Output | undefined): string;
  describeState(state: State): string;
}
