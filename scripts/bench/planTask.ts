/** The project that all plans belong to. */
export const PROJECT = '6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c';
export const PIPELINE = { id: 42, name: 'web' };

/** A job's token is a JWT of about so many characters. */
const TOKEN_LENGTH = 1_000;
const PLAN = /^([\da-f]{8})-0000-4000-8000-000000000001$/;

/** The only task of a plan that waits. */
export interface PlanTask {
  readonly plan: string;
  readonly timeline: string;
  readonly job: string;
  readonly instance: string;
  readonly token: string;
}

/** The stand-in's note about a call to a plan's events. */
export interface PlanNote {
  readonly plan: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** `succeeded`, `failed`, or what is wrong. */
  readonly result: string;
  /** The task had been completed before. */
  readonly isAgain: boolean;
}

/** The plan of a number, with its task. */
export function planTask(number: number): PlanTask {
  const start = number.toString(16).padStart(8, '0');
  const id = (part: number) => `${start}-0000-4000-8000-00000000000${part}`;
  return {
    ...{ plan: id(1), timeline: id(2), job: id(3), instance: id(4) },
    token: `job.${start}.`.padEnd(TOKEN_LENGTH, start),
  };
}

/** The number of a plan; undefined when its ID isn't from {@link planTask}. */
export function planNumber(plan: string): number | undefined {
  const [, start] = PLAN.exec(plan) ?? [];
  return start === undefined ? undefined : Number.parseInt(start, 16);
}

/** The task of the plan with this ID. */
export function taskOf(plan: string): PlanTask | undefined {
  const number = planNumber(plan);
  return number === undefined ? undefined : planTask(number);
}
