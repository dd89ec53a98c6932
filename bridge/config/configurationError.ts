/** What is wrong with a configuration, all of it: a line per problem, `file:line:column: name: what. What to do.` */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';

  /** @param signature changes when a file does whose change may mend it */
  constructor(
    readonly problems: readonly string[],
    readonly signature: () => string,
  ) {
    super(problems.join('\n'));
  }
}
