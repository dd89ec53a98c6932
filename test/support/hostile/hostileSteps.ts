import assert from 'node:assert/strict';
import { TaskError, type ErrorCode } from '../../../shared/errors.ts';
import { openBus, type OpenBus } from '../nats/openBus.ts';
import { ScriptedServer, SUBJECT, type Script } from '../nats/scriptedServer.ts';
import { WaitStep } from '../agent/waitStep.ts';

/** How a step may end: successfully, or with an error. */
export type Code = 'ok' | ErrorCode;

/** A server, and how steps that use it may end; a function if that depends on what the server got to say. */
export type HostileCase = readonly [name: string, script: Script, codes: readonly Code[] | (() => readonly Code[])];

/** How a step ended. */
interface Ending {
  readonly code: Code;
  readonly message: string;
  readonly tookMs: number;
}

/** What a step of each kind does with a server, in this process. */
const STEPS: Readonly<Record<string, (url: string, timeoutMs: number) => Promise<void>>> = {
  'publish, jetStream': publishing((bus) => bus.publishToStream(SUBJECT, 'id-1')),
  'publish, core': publishing((bus) => bus.publishCore(SUBJECT)),
  'publish, request': publishing((bus) => bus.request(SUBJECT)),
  'wait, jetStream': waiting({ startFrom: 'all' }),
  'wait, core': waiting({ delivery: 'core' }),
};

export const STEP_NAMES: readonly string[] = Object.keys(STEPS);

function publishing(act: (bus: OpenBus) => Promise<unknown>): (url: string, timeoutMs: number) => Promise<void> {
  return async (url, timeoutMs) => {
    await using bus = await openBus([url], {}, timeoutMs);
    await act(bus);
  };
}

function waiting(inputs: Readonly<Record<string, string>>): (url: string, timeoutMs: number) => Promise<void> {
  return async (url, timeoutMs) => {
    const given = { subject: SUBJECT, timeout: `${timeoutMs}ms`, ...inputs };
    const { error } = await new WaitStep([url], { inputs: given, keepsTime: true }).outcome;
    if (error !== undefined) throw error;
  };
}

/** A step that waits in vain gets little time; one that the server ends gets enough for a busy machine. */
const TIMEOUT_MS = 600;
const ENOUGH_MS = 15_000;
/** Anything open at the deadline is given up within two seconds; the rest is for sixty steps on a busy machine. */
const GRACE_MS = 5_000;
const AT_ONCE = 60;
/** How steps that try until their deadline end. */
const BY_TIME: readonly Code[] = ['Timeout', 'Unreachable', 'ConnectionLost'];

/** Runs each kind of step against each server, many concurrently. */
export async function assertEnds(cases: readonly HostileCase[], tried: () => void, steps = STEP_NAMES): Promise<void> {
  const all = cases.flatMap((one) => steps.map((step) => [...one, step] as const));
  await forAll(all, AT_ONCE, async ([name, script, allowed, step]) => {
    const isByServer =
      typeof allowed !== 'function' &&
      (allowed.includes('ok') ? !allowed.includes('Timeout') : !allowed.some((code) => BY_TIME.includes(code)));
    const timeoutMs = isByServer ? ENOUGH_MS : TIMEOUT_MS;
    const server = await ScriptedServer.start(script);
    const { code, message, tookMs } = await endOf(() => STEPS[step]!(server.url, timeoutMs));
    await server[Symbol.asyncDispose]();
    const codes = typeof allowed === 'function' ? allowed() : allowed;
    const about = `${step} from a server with ${name}: ${code} after ${tookMs} ms. ${message.slice(0, 500)}`;
    assert.ok(codes.includes(code), `not ${codes.join(' or ')}: ${about}`);
    assert.ok(tookMs < timeoutMs + GRACE_MS, about);
    tried();
  });
}

/** What `runTask` makes of a step's end. */
async function endOf(step: () => Promise<void>): Promise<Ending> {
  const begun = Date.now();
  const ending = (code: Code, message: string): Ending => ({ code, message, tookMs: Date.now() - begun });
  try {
    await step();
    return ending('ok', '');
  } catch (error) {
    if (error instanceof TaskError) return ending(error.code, error.message);
    return ending('Internal', error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}

/** Runs for all items, some at a time; if this fails, all of them have ended. */
async function forAll<T>(items: Iterable<T>, atOnce: number, run: (item: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true; next = rest.next()) {
      await run(next.value).catch((failure: unknown) => failures.push(failure));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  assert.deepEqual(failures.slice(0, 10).map(String), [], `${failures.length} failed`);
}
