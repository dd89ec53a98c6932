import js from '@eslint/js';
import type { ESLint, Linter } from 'eslint';
import { defineConfig, globalIgnores } from 'eslint/config';
import ts from 'typescript-eslint';

const ENTRIES = ['tasks/*/index.ts'];
const NATS_ADAPTER = ['tasks/shared/natsBus.ts', 'tasks/shared/nats/**'];
const AGENT_ADAPTER = ['tasks/shared/azureAgent.ts', 'tasks/shared/quietTaskLib.ts'];
const CONTRACT = ['tasks/shared/contract*', 'tasks/shared/contract/**', 'tasks/shared/schema*'];
const PORTS = ['tasks/shared/agent.ts', 'tasks/shared/bus.ts', 'tasks/shared/errors.ts'];

/** What may not be imported in tasks/, except in some files: the directions in which the code may depend on other code. */
const DIRECTIONS = [
  { name: 'task-lib', regex: '^azure-pipelines-task-lib(/|$)', onlyIn: AGENT_ADAPTER },
  { name: 'nats', regex: '^(nats|nkeys\\.js|@nats-io/.*)(/|$)', onlyIn: NATS_ADAPTER },
  { name: 'ajv', regex: '^ajv(-.*)?(/|$)', onlyIn: CONTRACT },
  { name: 'jmespath', regex: '^@jmespath-community/', onlyIn: ['tasks/shared/jmespath.ts'] },
  { name: 'agent-adapter', regex: '/azureAgent\\.ts$', onlyIn: ENTRIES },
  { name: 'nats-adapter', regex: '/(nats/|natsBus\\.ts$)', onlyIn: [...ENTRIES, ...NATS_ADAPTER] },
  { name: 'tasks', regex: '/(PublishNatsEvent|WaitForNatsEvent)/', onlyIn: [] },
  { name: 'process', regex: '^(node:)?(process|console)$', onlyIn: [] },
];

/** One rule under a name for each direction: a later setting of one rule would replace the earlier ones. */
const restrictedImports = (ts.plugin as ESLint.Plugin).rules?.['no-restricted-imports'];
if (!restrictedImports) throw new Error('typescript-eslint has no rule no-restricted-imports.');
const directionRules = Object.fromEntries(
  [...DIRECTIONS.map(({ name }) => name), 'ports'].map((name) => [name, restrictedImports]),
);

/** What takes long to load and not every step needs, imported by import(): contracts with the JSON Schema library, HTTP. */
const LOADED_LATER = ['./contractCompiler.ts', 'node:http', 'node:https'];
const DYNAMIC_IMPORT = {
  selector: `ImportExpression${LOADED_LATER.map((module) => `:not([source.value='${module}'])`).join('')}`,
  message: 'Import at the top, where the directions are checked.',
};
const CLOCK = {
  selector: "NewExpression[callee.name='Date'][arguments.length=0]",
  message: 'Take the time as a value.',
};

export default defineConfig(
  globalIgnores(['dist/', '.cache/']),
  js.configs.recommended,
  ts.configs.strictTypeChecked,
  ts.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    plugins: { directions: { rules: directionRules } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/no-empty-function': ['error', { allow: ['arrowFunctions'] }],
      // An empty text is an absent one in the inputs, variables and headers that are read here.
      '@typescript-eslint/prefer-nullish-coalescing': ['error', { ignorePrimitives: { string: true } }],
      // Finding control characters in foreign text is part of what the tasks do.
      'no-control-regex': 'off',
      '@typescript-eslint/dot-notation': ['error', { allowIndexSignaturePropertyAccess: true }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
    },
  },
  {
    // TypeScript checks JavaScript too: what is defined, and the casts in comments, which the linter does not see.
    files: ['examples/**/*.mjs'],
    rules: { 'no-undef': 'off', '@typescript-eslint/no-unsafe-assignment': 'off' },
  },
  {
    files: ['test/**'],
    rules: {
      // A test may state what it knows and may look into whatever JSON it is given: a wrong guess fails the test.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/unbound-method': 'off',
      // The test runner awaits these promises itself.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['test', 'it', 'describe', 'suite'] },
          ],
        },
      ],
    },
  },

  ...DIRECTIONS.map(({ name, regex, onlyIn }): Linter.Config => {
    const message = `Allowed ${onlyIn.length > 0 ? `only in ${onlyIn.join(', ')}` : 'nowhere in tasks/'}.`;
    const rules: Linter.RulesRecord = { [`directions/${name}`]: ['error', { patterns: [{ regex, message }] }] };
    return { files: ['tasks/**'], ignores: onlyIn, rules };
  }),
  {
    files: PORTS,
    rules: {
      'directions/ports': [
        'error',
        { patterns: [{ regex: '.', allowTypeImports: true, message: 'A port imports nothing.' }] },
      ],
    },
  },
  { files: ['tasks/**'], rules: { 'no-restricted-syntax': ['error', DYNAMIC_IMPORT] } },
  {
    // The process, the clock and the console are touched where the outside world begins.
    files: ['tasks/**'],
    ignores: [...ENTRIES, ...AGENT_ADAPTER, ...NATS_ADAPTER, 'tasks/shared/run.ts'],
    rules: {
      'no-restricted-globals': ['error', 'process', 'console'],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now' },
        { object: 'performance', property: 'now' },
        { object: 'globalThis', property: 'process' },
        { object: 'globalThis', property: 'console' },
      ],
      'no-restricted-syntax': ['error', DYNAMIC_IMPORT, CLOCK],
    },
  },
);
