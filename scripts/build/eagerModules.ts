import ts from 'typescript';

/**
 * The code of a minified bundle with each CommonJS module in it, `name=wrap((exports,module)=>{…})`, written as
 * `name=wrap((function(exports,module){…}))`. V8 skips over a function where it stands and reads it again when it is called;
 * one in such parentheses it takes for called at once, and compiles it in the first place. It takes arrow functions for
 * nothing.
 */
export function withEagerModules(code: string): string {
  const source = ts.createSourceFile('index.js', code, ts.ScriptTarget.Latest, false, ts.ScriptKind.JS);
  const parts: string[] = [];
  let end = 0;
  const replaceUpTo = (start: number, next: number, text: string) => {
    parts.push(code.slice(end, start), text);
    end = next;
  };
  for (const wrapped of source.statements.filter(ts.isVariableStatement).flatMap(wrappedModules)) {
    const names = wrapped.parameters.map(({ name }) => name.getText(source)).join();
    replaceUpTo(wrapped.getStart(source), wrapped.body.getStart(source), `(function(${names})`);
    replaceUpTo(wrapped.end, wrapped.end, ')');
  }
  return parts.join('') + code.slice(end);
}

/** Functions that are the only argument of a call that a variable of the bundle is set to. */
function wrappedModules({ declarationList }: ts.VariableStatement): ts.ArrowFunction[] {
  return declarationList.declarations.flatMap(({ initializer }) => {
    if (initializer === undefined || !ts.isCallExpression(initializer)) return [];
    const [wrapped, ...others] = initializer.arguments;
    if (wrapped === undefined || others.length > 0 || !ts.isArrowFunction(wrapped) || !ts.isBlock(wrapped.body))
      return [];
    return wrapped.modifiers === undefined ? [wrapped] : [];
  });
}
