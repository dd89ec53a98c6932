import type { Place } from '../../shared/bus.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { flattened, type Trace, type TraceNode } from '../audit/trace.ts';
import type { ReadParameters } from '../runs/parameters.ts';

/** The parameters that the runs of a route in preview would have had, by decision. */
export type Previewed = ReadonlyMap<TraceNode['fact'], ReadParameters>;

/** Fields with the data of events, by {@link keyOf}. */
export type DataByPlace = ReadonlyMap<string, Readonly<Record<string, unknown>>>;

/** `STREAM:sequence`, or nothing. */
export function keyOf(place: Place | undefined): string {
  return place === undefined ? '' : `${place.stream}:${place.sequence}`;
}

/** The chain as programs read it, oldest first. */
export function chainOf({ roots }: Trace, previewed: Previewed, data: DataByPlace): readonly unknown[] {
  return flattened(roots).map((fact) => {
    const { kind } = fact;
    const time = fact.at > 0 ? new Date(fact.at).toISOString() : null;
    switch (kind) {
      case 'event': {
        const { id, subject, place, run } = fact;
        const { stream = null, sequence = null } = place ?? {};
        const shown = {
          kind,
          id: safeText(id),
          stream,
          sequence,
          run: numberOf(run),
          subject: safeText(subject),
          time,
        };
        return { ...shown, ...data.get(keyOf(place)) };
      }
      case 'decision': {
        const { route, decision, reason, run, event } = fact;
        const { stream = null, sequence = null } = event.place ?? {};
        return {
          ...{ kind, route: safeText(route), decision: safeText(decision), reason: safeText(reason) },
          ...{ function: safeText(fact.function), stream, sequence, run: numberOf(run?.id), time },
          ...parametersIn(previewed.get(fact)),
        };
      }
      case 'run':
        return { kind, id: numberOf(fact.id), url: fact.url === '' ? null : safeText(fact.url), time };
    }
  });
}

function parametersIn(read: ReadParameters | undefined): { readonly parameters?: Readonly<Record<string, string>> } {
  if (read === undefined || 'problem' in read) return {};
  const safe = Object.entries(read.values).map(([name, value]) => [name, safeText(value)] as const);
  return { parameters: Object.fromEntries(safe) };
}

/** A run's id as a number if it looks like one of Azure DevOps', otherwise as text. */
function numberOf(run: string | undefined): number | string | null {
  if (run === undefined) return null;
  return /^[1-9]\d{0,14}$/.test(run) ? Number(run) : safeText(run);
}

/** The chain as people read it. */
export function linesOf({ roots }: Trace, previewed: Previewed, hooksStream: string | undefined): readonly string[] {
  const lines: string[] = [];
  const visit = (node: TraceNode, first: string, others: string) => {
    lines.push(first + textOf(node.fact, hooksStream));
    const read = previewed.get(node.fact);
    if (read !== undefined) lines.push(`${others}   ${safeText(previewText(read), 2_000)}`);
    node.children.forEach((child, index) => {
      const isLast = index === node.children.length - 1;
      visit(child, `${others}${isLast ? '└─ ' : '├─ '}`, `${others}${isLast ? '   ' : '│  '}`);
    });
  };
  for (const root of roots) visit(root, '', '');
  return lines;
}

function previewText(read: ReadParameters): string {
  if ('problem' in read) return `as configured now, it would start no run: ${read.problem}`;
  const values = Object.entries(read.values).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `would have started a run with ${values.join(', ')}`;
}

function textOf(fact: TraceNode['fact'], hooksStream: string | undefined): string {
  const when = fact.at > 0 ? `${new Date(fact.at).toISOString().slice(0, 19).replace('T', ' ')}Z  ` : '';
  return when + safeText(wordsOf(fact, hooksStream), 1_000);
}

/** Whose decision it is. A rule of waits is named as in the log of its task. */
function deciderOf(of: string, name: string): string {
  const rule = of === 'waits' ? /^rule-(\d+)$/.exec(name)?.[1] : undefined;
  return rule === undefined ? `${of === 'runs' ? 'route' : of} ${name}` : `waits.rules[${rule}]`;
}

function wordsOf(fact: TraceNode['fact'], hooksStream: string | undefined): string {
  switch (fact.kind) {
    case 'event': {
      const { id, subject, place, run, pipeline } = fact;
      const where = place === undefined ? 'in no stream' : `${place.stream}:${place.sequence}`;
      const isHook = place?.stream === hooksStream && hooksStream !== undefined;
      const of = run === undefined ? '' : ` ${run}${pipeline === '' ? '' : ` of ${pipeline}`}`;
      const by =
        run === undefined
          ? isHook
            ? ', a service hook'
            : ''
          : isHook
            ? `, a service hook of run${of}`
            : `, published by run${of}`;
      return `event ${[id, subject].filter(Boolean).join(' ')} (${where})${by}`;
    }
    case 'decision': {
      const { name, route, decision, reason, user, deadLetter } = fact;
      const on = route === name ? '' : ` on ${route}`;
      const who = fact.function === 'orders' ? `${user} ordered ${name}${on}` : deciderOf(fact.function, name);
      const letter = deadLetter === undefined ? '' : ` (dead letter ${deadLetter})`;
      return `${who}: ${decision}${reason === '' ? '' : `, ${reason}`}${letter}`;
    }
    case 'run':
      return `run ${fact.id}${fact.url === '' ? '' : ` ${fact.url}`}`;
  }
}
