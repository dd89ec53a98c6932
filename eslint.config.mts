import type { Rule } from 'eslint';
import { defineConfig, globalIgnores } from 'eslint/config';
import { isBuiltin } from 'node:module';
import path from 'node:path';
import { parser, plugin } from 'typescript-eslint';

const PRODUCT = ['shared/**', 'tasks/**', 'bridge/**'];
/** Where the outside world begins. */
const OUTSIDE = [
  'tasks/*/index.ts',
  'tasks/agent/{azureAgent,quietTaskLib,run}.ts',
  'bridge/main.ts',
  'shared/nats/**',
];

/** What everything else in shared/ stands on: ports and small things. */
const GROUND = [
  ...'errors clock log bus subject nkey once regularFile'.split(' ').map((name) => `shared/${name}.ts`),
  'shared/text/',
];
const SHARED = [
  ...[...GROUND, 'shared/inputs/', 'shared/event/', 'shared/contract/', 'shared/connection/', 'shared/expression/'],
  ...['shared/signing/', 'shared/waiting/'],
];
/** What a part of the bridge may import: all but what only its entry sees. */
const BRIDGE = [...SHARED, 'bridge/', '!bridge/main.ts'];

/**
 * What each part of the tree may import: the first row whose place begins a file's path holds for it. Places end in `/`
 * or are files; anything else is a package, `*` is any package, and what begins with `!` is excepted. Files of one folder
 * see each other, and Node's modules are free but for `node:process` and `node:console`. Type-only imports count.
 */
export const ROOMS: readonly (readonly [place: string, mayImport: readonly string[]])[] = [
  ['shared/inputs/', GROUND],
  ['shared/event/', GROUND],
  ['shared/contract/', [...GROUND, 'ajv', 'ajv-formats', 'ajv-formats-draft2019']],
  ['shared/connection/', GROUND],
  ['shared/expression/expression.ts', [...GROUND, 'shared/event/']],
  ['shared/expression/', [...GROUND, '@jmespath-community/jmespath']],
  ['shared/signing/', [...GROUND, 'shared/event/']],
  ['shared/text/', [...GROUND, 'canonicalize']],
  [
    'shared/waiting/',
    [...GROUND, 'shared/inputs/', 'shared/event/', 'shared/contract/', 'shared/expression/', 'shared/signing/'],
  ],
  ['shared/nats/serviceBus.ts', [...GROUND, 'shared/connection/', 'shared/nats/']],
  ['shared/nats/', [...GROUND, 'shared/connection/', 'shared/nats/', '!shared/nats/natsBus.ts', 'nats']],
  ['shared/', GROUND],
  ['tasks/agent/azureAgent.ts', ['azure-pipelines-task-lib', ...SHARED]],
  ['tasks/agent/', [...SHARED, 'tasks/agent/', '!tasks/agent/azureAgent.ts']],
  ['tasks/PublishNatsEvent/index.ts', [...SHARED, 'shared/nats/natsBus.ts', 'tasks/agent/']],
  ['tasks/PublishNatsEvent/', [...SHARED, 'tasks/agent/', '!tasks/agent/azureAgent.ts']],
  ['tasks/WaitForNatsEvent/index.ts', [...SHARED, 'shared/nats/natsBus.ts', 'tasks/agent/']],
  ['tasks/WaitForNatsEvent/', [...SHARED, 'tasks/agent/', '!tasks/agent/azureAgent.ts']],
  ['bridge/main.ts', [...SHARED, 'bridge/', 'shared/nats/serviceBus.ts']],
  ['bridge/azureDevOps/credentials.ts', [...BRIDGE, '@azure/identity']],
  ['bridge/azureDevOps/', [...BRIDGE, 'undici']],
  ['bridge/callout/', [...BRIDGE, 'jose', 'tweetnacl']],
  ['bridge/config/', [...BRIDGE, 'yaml']],
  ['bridge/http/', [...BRIDGE, 'fastify']],
  // How a server's configuration writes permissions; nothing of the library.
  ['bridge/jetStream/', [...BRIDGE, 'shared/nats/permissions.ts']],
  ['bridge/metrics.ts', [...BRIDGE, 'prom-client']],
  ['bridge/waits/idToken.ts', [...BRIDGE, 'jose']],
  ['bridge/', BRIDGE],
  // What a task prints comes from anywhere, so the agent needs the neutraliser.
  ['localAgent/', ['localAgent/', 'shared/text/', 'shared/errors.ts', 'shared/subject.ts', 'fflate', 'nats', 'yaml']],
  ['scripts/', ['shared/', 'tasks/', 'bridge/', 'localAgent/', 'scripts/', '*']],
];

/** What an import names: a path from the root, or a package; undefined for modules of Node. */
function targetOf(specifier: string, file: string): string | undefined {
  if (/^\.\.?\//.test(specifier)) return path.posix.join(path.posix.dirname(file), specifier);
  if (isBuiltin(specifier)) return /^(node:)?(process|console)$/.test(specifier) ? 'node:process' : undefined;
  return /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0];
}

function mayImport(target: string, file: string, allowed: readonly string[]): boolean {
  const isIn = (place: string) => target === place || (place.endsWith('/') && target.startsWith(place));
  if (allowed.some((place) => place.startsWith('!') && isIn(place.slice(1)))) return false;
  if (/\.\w+$/.test(target) && path.posix.dirname(target) === path.posix.dirname(file)) return true;
  const isPackage = !/^(shared|tasks|localAgent|scripts|test|bridge)\//.test(target);
  return allowed.some((place) => isIn(place) || (place === '*' && isPackage));
}

/** The target of an import whose specifier is no literal, so that nobody can tell where it leads. */
const COMPUTED = 'what is computed';

/** The directions in which the code may depend on other code. */
const rooms: Rule.RuleModule = {
  meta: { type: 'problem', schema: [] },
  create(context) {
    const file = path
      .relative(import.meta.dirname, context.filename)
      .split(path.sep)
      .join('/');
    const [place, allowed] = ROOMS.find(([prefix]) => file.startsWith(prefix)) ?? [];
    if (place === undefined || allowed === undefined) return {};
    const check = (node: Rule.Node & { source?: unknown; expression?: unknown }) => {
      const source = (node.source ?? node.expression) as { value?: unknown } | null | undefined;
      if (!source) return;
      const target = typeof source.value === 'string' ? targetOf(source.value, file) : COMPUTED;
      if (target === undefined || (target !== COMPUTED && mayImport(target, file, allowed))) return;
      context.report({ node, message: `${place} may not import ${target}.` });
    };
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
      TSImportType: check,
      TSExternalModuleReference: check,
    };
  },
};

/**
 * What takes long to load and not every step or command needs, imported by import(): contracts with the JSON Schema library,
 * what Microsoft Entra answers, HTTP; of the bridge its commands, NATS, and what signs in to Azure DevOps and calls it.
 */
const LOADED_LATER = [
  String.raw`\/(compile|unevaluated|tokenExchange|credentials|dispatcher|serviceBus)\.ts$`,
  String.raw`^\.\/commands\/\w+\.ts$`,
  '^node:https?$',
].join('|');
const DYNAMIC_IMPORT = {
  selector: `ImportExpression:not([source.value=/${LOADED_LATER}/])`,
  message: 'Import at the top, where the directions are checked.',
};
const CLOCK = {
  selector: "NewExpression[callee.name='Date'][arguments.length=0]",
  message: 'Take the time as a value.',
};

/** The rules of this project's own. All others are in .oxlintrc.json. */
export default defineConfig(
  globalIgnores(['dist/', '.cache/']),
  {
    files: ROOMS.map(([place]) => (place.endsWith('/') ? `${place}**/*.ts` : place)),
    languageOptions: { parser },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    plugins: { '@typescript-eslint': plugin, directions: { rules: { rooms } } },
    rules: { 'directions/rooms': 'error' },
  },
  {
    files: ['shared/bus.ts', 'shared/log.ts', 'tasks/agent/agent.ts'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        { patterns: [{ regex: '.', allowTypeImports: true, message: 'A port imports nothing.' }] },
      ],
    },
  },
  { files: PRODUCT, rules: { 'no-restricted-syntax': ['error', DYNAMIC_IMPORT] } },
  {
    // The process, the clock and the console are touched where the outside world begins.
    files: PRODUCT,
    ignores: OUTSIDE,
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
