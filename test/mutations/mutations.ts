import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** A rule, broken by one line of the source that is changed for the worse, and the tests that must notice. */
export interface Mutation {
  readonly what: string;
  /** Stands in shared/, tasks/ and bridge/ exactly once, in whichever file. */
  readonly line: string;
  readonly becomes: string;
  readonly tests: Tests;
}

interface Tests {
  readonly files: readonly string[];
  /** Of the names of tests; all of a file when absent. */
  readonly pattern?: string;
  /** Whether they run the packed tasks. */
  readonly packed?: true;
}

const NEUTRALISER: Tests = { files: ['test/unit/shared/text/safeText.test.ts', 'test/hostile/neutraliser.test.ts'] };
const WHOLE_PATH: Tests = {
  files: ['test/hostile/foreignText.test.ts'],
  pattern: 'shows them as invalid',
  packed: true,
};
const PERMISSIONS = 'test/integration/nats/permissions.test.ts';
const DEADLINE: Tests = { files: ['test/unit/tasks/agent/run.test.ts'] };
const TELL = 'test/unit/bridge/waits/tell.test.ts';
const PLAN_URL: Tests = { files: ['test/unit/bridge/waits/planUrl.test.ts'] };
const FOREIGN: Tests = { files: ['test/e2e/bridge/waitsForeign.test.ts'], packed: true };
const APART: Tests = { files: ['test/integration/bridge/judging.test.ts'], pattern: 'that cost much' };
const PROTOCOL = 'test/unit/bridge/runs/protocol.test.ts';
const ROUTE: Tests = { files: ['test/unit/bridge/runs/judgeEvents.test.ts'] };
const ENTRA: Tests = { files: ['test/unit/tasks/agent/entra/accessTokens.test.ts'] };
const SIGN_IN: Tests = { files: ['test/unit/bridge/callout/decide.test.ts'] };
const CALLOUT: Tests = {
  files: ['test/e2e/bridge/callout.test.ts', 'test/e2e/bridge/calloutChanges.test.ts'],
  pattern: 'a responder answers only requests|treats empty lists of subjects',
  packed: true,
};
const CONTRACT: Tests = {
  files: ['contract', 'officialSuite'].map((name) => `test/unit/shared/contract/${name}.test.ts`),
};

/** The source of shared/, tasks/ and bridge/ by file, below a folder. */
export function readSources(root: string): ReadonlyMap<string, string> {
  const files = ['shared', 'tasks', 'bridge'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) => path.join(folder, file)),
  );
  const sources = files.filter((file) => file.endsWith('.ts'));
  return new Map(sources.map((file) => [file, readFileSync(path.join(root, file), 'utf8')]));
}

/** The file that a mutation is made in; undefined when its line isn't there exactly once. */
export function fileOf({ line }: Mutation, sources: ReadonlyMap<string, string>): string | undefined {
  const found = [...sources].flatMap(([file, source]) =>
    source
      .split(line)
      .slice(1)
      .map(() => file),
  );
  return found.length === 1 ? found[0] : undefined;
}

export const MUTATIONS: readonly Mutation[] = [
  {
    what: 'the step itself masks no secret',
    line: 'this.#starts[start] = 1;',
    becomes: '',
    tests: { files: ['test/unit/shared/text/masker.test.ts'] },
  },
  {
    what: 'a secret in an input is sent',
    line: "const secret = knownSecrets.secretIn(fields.text(name) ?? '');",
    becomes: 'const secret = undefined;',
    tests: { files: ['test/unit/tasks/PublishNatsEvent/inputs.test.ts'] },
  },
  {
    what: 'the neutraliser knows one spelling of a command only',
    line: String.raw`const COMMAND_MARKER = /#\p{M}*#(?=\p{M}*(?:v\p{M}*s\p{M}*o|\[))/giu;`,
    becomes: String.raw`const COMMAND_MARKER = /##(?=vso\[)/g;`,
    tests: NEUTRALISER,
  },
  {
    what: 'the neutraliser deletes a marker instead of breaking it',
    line: `.replace(COMMAND_MARKER, '$&_')`,
    becomes: `.replace(COMMAND_MARKER, '')`,
    tests: NEUTRALISER,
  },
  {
    what: 'the neutraliser leaves invisible characters',
    line: '.replace(INVISIBLE, escapeCharacter)',
    becomes: '',
    tests: NEUTRALISER,
  },
  {
    what: 'the neutraliser shows control characters only',
    line: String.raw`const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;`,
    becomes: String.raw`const INVISIBLE = /[\p{Cc}\p{Zl}\p{Zp}]/gu;`,
    tests: NEUTRALISER,
  },
  {
    what: 'what the tasks log does not pass the neutraliser',
    line: 'process.stdout.write(`${safeText(text)}\\n`);',
    becomes: 'process.stdout.write(`${text}\\n`);',
    tests: WHOLE_PATH,
  },
  {
    what: 'nobody is told of a refused operation',
    line: 'for (const listener of this.#violationListeners) listener(violation);',
    becomes: '',
    tests: { files: [PERMISSIONS], pattern: 'taken away during a wait' },
  },
  {
    what: 'refused operations are not kept until the flush',
    line: 'const stop = this.onViolation((violation) => violations.push(violation));',
    becomes: 'const stop = () => {};',
    tests: { files: [PERMISSIONS], pattern: '^publish to core NATS: ' },
  },
  {
    what: 'a wait on a stream does not watch its permissions',
    line: 'if (this.#attachment === attachment) this.#fail(this.#access.denied(violation));',
    becomes: '',
    tests: { files: [PERMISSIONS], pattern: '^wait on one subject of a named stream: ' },
  },
  {
    what: 'publishing to a stream does not watch its permissions',
    line: 'this.#failure ??= deniedError(violation.operation, violation.subject, grants);',
    becomes: '',
    tests: { files: [PERMISSIONS], pattern: '^publish to a stream: ' },
  },
  {
    what: 'a server may say more than its INFO before TLS',
    line: `throw new NatsError('it sent more than its INFO before TLS', CLEAR_TEXT_BEFORE_TLS);`,
    becomes: ';',
    tests: { files: ['test/integration/nats/tlsInjection.test.ts'], pattern: 'in the packet of the INFO' },
  },
  {
    what: 'a link that was encrypted may be followed by one that is not',
    line: 'if (isEncrypted) this.#mustEncrypt = true;',
    becomes: 'if (isEncrypted) void 0;',
    tests: { files: ['test/integration/nats/tlsDowngrade.test.ts'] },
  },
  {
    what: 'the library may sign in without TLS where that was not allowed',
    line: 'if (this.options.plainWithoutOffer === false && !this.isEncrypted())',
    becomes: 'if (false)',
    tests: { files: ['test/integration/nats/tlsInjection.test.ts'], pattern: 'even if the library' },
  },
  {
    what: 'a wait believes what any consumer delivers once it has seen its own',
    line: 'if (reply[index] !== prefix[index]) return undefined;',
    becomes: ';',
    tests: { files: ['test/integration/nats/foreignDeliveries.test.ts'] },
  },
  {
    what: 'a wait takes the first delivery for one of its own',
    line: 'return reply.startsWith(prefix) ? Buffer.from(prefix) : undefined;',
    becomes: 'return Buffer.from(reply.startsWith(prefix) ? prefix : reply.slice(0, prefix.length));',
    tests: { files: ['test/integration/nats/foreignDeliveries.test.ts'] },
  },
  {
    what: 'the deadline counts from when the inputs were read',
    line: 'const deadline = startedAt + request.timeoutMs;',
    becomes: 'const deadline = Date.now() + request.timeoutMs;',
    tests: DEADLINE,
  },
  {
    what: 'nothing happens at the deadline',
    line: `controller.abort(deadlinePassed());`,
    becomes: '',
    tests: { ...DEADLINE, pattern: 'at its deadline' },
  },
  {
    what: 'a step that ignores its deadline goes on',
    line: 'failAfterGrace(signal),',
    becomes: '',
    tests: { ...DEADLINE, pattern: 'five seconds after the deadline' },
  },
  {
    what: 'an error that nobody awaited passes for silence',
    line: 'failOnStrayError(),',
    becomes: '',
    tests: { ...DEADLINE, pattern: 'nobody awaited' },
  },
  {
    what: 'data that breaks the schema is valid',
    line: `return errors.length === 0 ? { outcome: 'valid' } : { outcome: 'violated', problems: problemsOf(errors) };`,
    becomes: `return { outcome: 'valid' };`,
    tests: CONTRACT,
  },
  {
    what: 'a check that takes too long finds the data valid',
    line: `return { outcome: 'interrupted', afterMs };`,
    becomes: `return { outcome: 'valid' };`,
    tests: CONTRACT,
  },
  {
    what: 'one good line of a file stands for all',
    line: 'values.every((value) => errorsOf',
    becomes: 'values.some((value) => errorsOf',
    tests: { files: ['test/e2e/tasks/batch.test.ts'], pattern: 'with one bad line', packed: true },
  },
  {
    what: 'a schema is not held against its meta-schema',
    line: 'if (metaSchema(schema)) return undefined;',
    becomes: 'if (metaSchema(schema) || schema !== undefined) return undefined;',
    tests: CONTRACT,
  },
  {
    what: 'a branch that refuses an event evaluates its properties',
    line: 'const accepting = branches.filter(({ accepts }) => accepts(value));',
    becomes: 'const accepting = branches;',
    tests: CONTRACT,
  },
  {
    what: 'if evaluates nothing without then',
    line: '(accepts(value) ? whenAccepted : otherwise)(value, into);',
    becomes: '(accepts(value) ? this.#part(schema.then) : otherwise)(value, into);',
    tests: CONTRACT,
  },
  {
    what: 'dependentSchemas of an absent key evaluates',
    line: 'for (const [name, evaluate] of parts) if (Object.hasOwn(value, name)) evaluate(value, into);',
    becomes: 'for (const [, evaluate] of parts) evaluate(value, into);',
    tests: CONTRACT,
  },
  {
    what: 'contains evaluates in 2019-09, too',
    line: `if (!Object.hasOwn(this.ajv.RULES.keywords, 'prefixItems')) return undefined;`,
    becomes: '',
    tests: CONTRACT,
  },
  {
    what: 'a check remembers the branches of the one before',
    line: 'this.#accepted = new WeakMap();',
    becomes: 'this.#accepted ??= new WeakMap();',
    tests: CONTRACT,
  },
  {
    what: 'parts are compiled within each schema around them',
    line: '(holder as Record<string | number, unknown>)[key] = { $ref: id };',
    becomes: '',
    tests: CONTRACT,
  },
  {
    what: 'a dynamic reference means what a plain one would',
    line: 'return outermost === undefined || schema === undefined ? target : { resource: outermost, schema };',
    becomes: 'return target;',
    tests: CONTRACT,
  },
  {
    what: 'not and if stop at the first problem',
    line: 'judge({ ...part, allErrors: true }, valid);',
    becomes: 'judge(part, valid);',
    tests: CONTRACT,
  },
  {
    what: 'a dynamic scope forgets what was entered first',
    line: 'this.#unsettled.has(name) && !scope.has(name));',
    becomes: 'this.#unsettled.has(name));',
    tests: CONTRACT,
  },
  {
    what: 'an unknown format is silent',
    line: 'this.#unknownFormats.set(format, {',
    becomes: '({',
    tests: CONTRACT,
  },
  {
    what: 'a meta-schema wins over a file with its $id',
    line: 'if (first !== undefined) return this.#read(first);',
    becomes: '',
    tests: CONTRACT,
  },
  {
    what: 'a step that checks many lines is deaf to a cancel',
    line: 'this.#clock.now() - this.#workingSince > MOST_WORK_MS',
    becomes: 'this.#workingSince < 0',
    tests: { files: ['test/unit/tasks/PublishNatsEvent/clock.test.ts'], pattern: 'is noticed' },
  },
  {
    what: 'a named pipe is opened like a file',
    line: 'if (stats.isFile()) return undefined;',
    becomes: 'if (stats.isFile() || stats.isFIFO()) return undefined;',
    tests: { files: ['test/unit/shared/regularFile.test.ts'] },
  },
  {
    what: 'an output may be longer than the environment of the next step takes',
    line: 'if (bytes > MAX_OUTPUT_BYTES)',
    becomes: 'if (bytes > MAX_OUTPUTS_BYTES)',
    tests: { files: ['test/unit/tasks/agent/outputs.test.ts'] },
  },
  {
    what: 'a run is asked for again without a look whether there is one',
    line: 'for (const pause of pauses) {',
    becomes: 'for (const pause of pauses.slice(pauses.length)) {',
    tests: { files: [PROTOCOL], pattern: 'whose run is found that way' },
  },
  {
    what: 'a replica takes over a request that is under way',
    line: 'return time + this.settings.timing.takeover;',
    becomes: 'return time;',
    tests: { files: [PROTOCOL], pattern: 'is left to it for 60 seconds' },
  },
  {
    what: 'what has started a run is no duplicate',
    line: `if (done !== undefined) return { kind: 'duplicate', done };`,
    becomes: '',
    tests: { files: [PROTOCOL], pattern: 'that comes again does not start another run' },
  },
  {
    what: 'runs may start each other for ever',
    line: 'if (hops > MOST_HOPS) {',
    becomes: 'if (hops > Infinity) {',
    tests: { files: ['test/e2e/bridge/runs.test.ts'], pattern: 'in a circle', packed: true },
  },
  {
    what: 'a parameter may be outside its pattern',
    line: 'if (!parameter.pattern.test(value)) return { problem: outside(parameter) };',
    becomes: '',
    tests: ROUTE,
  },
  {
    what: 'an event of any publisher may start a pipeline',
    line: `if (stranger !== undefined) return dead('untrusted', stranger);`,
    becomes: '',
    tests: ROUTE,
  },
  {
    what: 'a task says where the token of its job goes',
    line: "return 'problem' in allowed ? allowed : new PlanClient(azureDevOps, allowed.url, call, signal);",
    becomes: 'return new PlanClient(azureDevOps, call.planUrl, call, signal);',
    tests: { files: ['test/unit/bridge/waits/planClient.test.ts'], pattern: 'sends a token only to' },
  },
  {
    what: 'an id that is a path becomes a part of one',
    line: `for (const id of ids) if (!GUID.test(id)) throw new RangeError('an ID of a plan is not a GUID');`,
    becomes: 'void ids;',
    tests: { files: ['test/unit/bridge/waits/planClient.test.ts'], pattern: 'sends a token only to' },
  },
  {
    what: 'a plan URL is taken with what looks like its host before an "@"',
    line: "if (text.includes('@')) return { problem: 'holds a user or password' };",
    becomes: '',
    tests: PLAN_URL,
  },
  {
    what: 'an address in disguise is taken for the host of a plan',
    line: ' && new URL(text).hostname === host.toLowerCase()',
    becomes: '',
    tests: PLAN_URL,
  },
  {
    what: 'another organization than the one of its old host is read from a path',
    line: 'if (!isPlain || (OLD_HOST.test(host) && !OLD_PATH.test(path)))',
    becomes: 'if (!isPlain)',
    tests: PLAN_URL,
  },
  {
    what: 'a plan URL becomes a part of a request as it comes',
    line: '    : { url };',
    becomes: '    : { url: text };',
    tests: PLAN_URL,
  },
  {
    what: 'a plan URL is stored as it comes',
    line: 'call: { planUrl: allowed.url, hub,',
    becomes: 'call: { planUrl, hub,',
    tests: FOREIGN,
  },
  {
    what: "a job's token follows where Azure DevOps, or a proxy, points",
    line: 'return request(url, { dispatcher: this.#dispatcher, ...options });',
    becomes:
      "const { interceptors } = await import('undici');\n    " +
      'return request(url, { dispatcher: this.#dispatcher.compose(interceptors.redirect({ maxRedirections: 3 })), ...options });',
    tests: FOREIGN,
  },
  {
    what: 'a task waits in the name of an organization that is not on the list',
    line: "  if ('problem' in allowed)\n    throw new Refusal(",
    becomes: "  if ('problem' in allowed && allowed.problem === '')\n    throw new Refusal(",
    tests: { files: ['test/unit/bridge/waits/accept.test.ts'] },
  },
  {
    what: 'a plan of one project lets wait in the name of another',
    line: 'if (project.toLowerCase() !== claim.key.project)',
    becomes: "if (project === '')",
    tests: { files: ['test/unit/bridge/waits/accept.test.ts'] },
  },
  {
    what: 'a header of a task holds a path where an ID is',
    line: "if (given !== '' && !GUID.test(given)) problems.note(",
    becomes: "if (given === '?') problems.note(",
    tests: { files: ['test/unit/bridge/waits/request.test.ts'] },
  },
  {
    what: 'the expensive waits of one project hold up those of others',
    line: 'if (allowance.isUsedUp && !this.#apart.has(tenant)) this.#expensive.add(tenant);',
    becomes: '',
    tests: APART,
  },
  {
    what: 'a wait is over before what came in its time is judged',
    line: 'return this.#apart.get(tenant)?.reader ?? this.main;',
    becomes: 'return this.main;',
    tests: APART,
  },
  {
    what: 'waits that fall back are shown events again',
    line: 'seat.wait.position = Math.max(seat.wait.position, from.position);',
    becomes: '',
    tests: APART,
  },
  {
    what: 'a task that has ended is told again',
    line: `if (record.value?.isCompleted === true) return { kind: 'done' };`,
    becomes: '',
    tests: { files: [TELL], pattern: 'leaves a completed task alone' },
  },
  {
    what: 'a task succeeds without its outputs',
    line: `const result = problems.length === 0 ? resultOf(decided) : 'failed';`,
    becomes: 'const result = resultOf(decided);',
    tests: { files: [TELL], pattern: 'whose outputs are refused' },
  },
  {
    what: 'an access token of Microsoft Entra is not masked',
    line: `if (typeof text === 'string') maskToken(this.agent, text);`,
    becomes: '',
    tests: ENTRA,
  },
  {
    what: 'what Microsoft Entra says is shown as it comes',
    line: 'return safeText(line, MAX_TEXT);',
    becomes: 'return line;',
    tests: ENTRA,
  },
  {
    what: 'a token that Microsoft Entra repeats is shown',
    line: `const line = text.replace(JWT, '***')`,
    becomes: 'const line = text',
    tests: ENTRA,
  },
  {
    what: 'Microsoft Entra is asked again sooner than it wants',
    line: 'if (answer.retryAfterMs !== undefined) this.#busy =',
    becomes: 'if (answer.retryAfterMs === -1) this.#busy =',
    tests: { ...ENTRA, pattern: 'pause' },
  },
  {
    what: 'an ID token is sent to an authority in clear text',
    line: `return url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url)) ? url : undefined;`,
    becomes: 'return url;',
    tests: { files: ['test/unit/tasks/agent/entra/application.test.ts'] },
  },
  {
    what: 'a sign-in is judged by the rules of another issuer',
    line: 'const issuer = issuers.get(claimed.issuer);',
    becomes: 'const issuer = issuers.get(claimed.issuer) ?? [...issuers.values()][0];',
    tests: SIGN_IN,
  },
  {
    what: "an issuer's keys come from the documents of another",
    line: `if (discovery.object['issuer'] !== issuer)`,
    becomes: `if (discovery.object['issuer'] === undefined)`,
    tests: { files: ['test/unit/bridge/callout/keySets.test.ts'] },
  },
  {
    what: 'a token for somebody else signs in',
    line: '      audience: issuer.audience,\n',
    becomes: '',
    tests: SIGN_IN,
  },
  {
    what: 'a token signs in after its end',
    line: `if (!((payload.exp ?? 0) * 1_000 > now)) throw new Refusal('badToken', 'the token has expired');`,
    becomes: '',
    tests: SIGN_IN,
  },
  {
    what: 'a token signs in long before its time',
    line: 'const EARLY_SECONDS = 30;',
    becomes: 'const EARLY_SECONDS = 60;',
    tests: SIGN_IN,
  },
  {
    what: 'a token may be signed with any algorithm',
    line: '      algorithms: ALGORITHMS,\n',
    becomes: '',
    tests: SIGN_IN,
  },
  {
    what: 'a token of another tenant signs in',
    line: 'if (!isGuid(tid) || tid.toLowerCase() !== id)',
    becomes: 'if (!isGuid(tid))',
    tests: SIGN_IN,
  },
  {
    what: 'a rule with groups is skipped where the token does not tell them',
    line: 'if (why === TOO_MANY)',
    becomes: `if (why === '')`,
    tests: SIGN_IN,
  },
  {
    what: 'groups that the token does not tell are taken for granted',
    line: `if (groups === 'tooMany') return TOO_MANY;`,
    becomes: `if (groups === 'tooMany') return undefined;`,
    tests: SIGN_IN,
  },
  {
    what: 'one of the roles is enough',
    line: 'const role = rule.roles.find((one) => !identity.roles.includes(one));',
    becomes: 'const role = rule.roles.some((one) => identity.roles.includes(one)) ? undefined : rule.roles[0];',
    tests: SIGN_IN,
  },
  {
    what: 'one of the groups is enough',
    line: 'const group = rule.groups.find((one) => !groups.includes(one));',
    becomes: 'const group = rule.groups.some((one) => groups.includes(one)) ? undefined : rule.groups[0];',
    tests: SIGN_IN,
  },
  {
    what: 'a role makes up for another sub',
    line: 'if (rule.sub !== undefined && !matches(rule.sub, identity.sub))',
    becomes: 'if (rule.sub !== undefined && rule.roles.length === 0 && !matches(rule.sub, identity.sub))',
    tests: SIGN_IN,
  },
  {
    what: 'a name becomes more than one token of a subject',
    line: 'if (SAFE.test(name)) return name;',
    becomes: 'return name;',
    tests: SIGN_IN,
  },
  {
    what: 'a session outlives its token',
    line: '      identity.expiresAt,\n',
    becomes: '      Infinity,\n',
    tests: SIGN_IN,
  },
  {
    what: 'a project gets into the account of the callout by its name',
    line: `const OWN_ACCOUNTS = [CALLOUT_ACCOUNT, 'SYS'];`,
    becomes: `const OWN_ACCOUNTS = ['SYS'];`,
    tests: SIGN_IN,
  },
  {
    what: 'an empty list of subjects means all of them',
    line: `return subjects.length > 0 ? { allow: subjects } : { deny: ['>'] };`,
    becomes: 'return { allow: subjects };',
    tests: CALLOUT,
  },
  {
    what: 'a request that no server has signed is answered',
    line: 'return isSigned ? claims : undefined;',
    becomes: 'return claims;',
    tests: CALLOUT,
  },
  {
    what: 'a server asks in the name of another',
    line: `if (!isObject(server) || server['id'] !== claims['iss'])`,
    becomes: 'if (!isObject(server))',
    tests: CALLOUT,
  },
  {
    what: 'an answer is sealed for whom the request names',
    line: 'if (seal !== undefined && serverXkey !== sealedBy)',
    becomes: `if (seal !== undefined && serverXkey === '')`,
    tests: CALLOUT,
  },
  {
    what: 'an old request is answered',
    line: `if (typeof claims['exp'] !== 'number' || claims['exp'] * 1_000 <= now)`,
    becomes: `if (typeof claims['exp'] !== 'number')`,
    tests: CALLOUT,
  },
  {
    what: 'the answer is for another server than asked',
    line: '      aud: serverId,\n',
    becomes: '      aud: userKey,\n',
    tests: CALLOUT,
  },
  {
    what: 'the answer may not go where servers wait for it',
    line: `[] : ['$SYS._INBOX.>']),`,
    becomes: `[] : ['_INBOX.>']),`,
    tests: CALLOUT,
  },
];
