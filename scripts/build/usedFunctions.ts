import ts from 'typescript';

/**
 * The code of a CommonJS module, as TypeScript writes it, without the functions and classes that neither these names of its
 * exports nor its other statements need.
 */
export function withUsedFunctions(code: string, exported: Iterable<string>): string {
  const { statements } = ts.createSourceFile('module.js', code, ts.ScriptTarget.Latest, true, ts.ScriptKind.JS);
  const droppable = new Map<string, ts.Statement[]>();
  const kept: ts.Statement[] = [];
  for (const statement of statements) {
    const name = nameDefinedBy(statement);
    if (name === undefined) kept.push(statement);
    else droppable.set(name, [...(droppable.get(name) ?? []), statement]);
  }
  const wanted = kept.flatMap((statement) => (isVoid(statement) ? [] : namesIn(statement.getText())));
  wanted.push(...exported);
  for (const name of wanted) {
    const needed = droppable.get(name) ?? [];
    droppable.delete(name);
    kept.push(...needed);
    for (const statement of needed) wanted.push(...namesIn(statement.getText())); // grows while it is read
  }
  const isKept = new Set(kept);
  return statements.flatMap((statement) => (isKept.has(statement) ? [statement.getFullText()] : [])).join('');
}

/** Every word of a code. */
export function namesIn(code: string): string[] {
  return code.match(/[\w$]+/g) ?? [];
}

/** What a statement defines that does nothing else: `function f() {…}`, `var f = function () {…}`, `exports.f = f` or `exports.f = other.f`. */
function nameDefinedBy(statement: ts.Statement): string | undefined {
  if (ts.isFunctionDeclaration(statement)) return statement.name?.text;
  if (ts.isVariableStatement(statement)) {
    const [declaration, ...others] = statement.declarationList.declarations;
    const isAlone = declaration?.initializer !== undefined && others.length === 0;
    return isAlone && isFunctionOrClass(declaration.initializer) ? declaration.name.getText() : undefined;
  }
  if (!ts.isExpressionStatement(statement) || !ts.isBinaryExpression(statement.expression)) return undefined;
  const { left, right } = statement.expression;
  const isPlain = ts.isIdentifier(right) || ts.isPropertyAccessExpression(right);
  return isPlain ? /^exports\.(\w+)$/.exec(left.getText())?.[1] : undefined;
}

function isFunctionOrClass(value: ts.Expression): boolean {
  return ts.isFunctionExpression(value) || value.getFullText().trimStart().startsWith('/** @class */');
}

/** `exports.a = exports.b = void 0`, which names all exports. */
function isVoid(statement: ts.Statement): boolean {
  return /^exports\..*= void 0;$/.test(statement.getText());
}
