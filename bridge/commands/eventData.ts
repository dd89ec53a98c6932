import type { ReceivedMessage } from '../../shared/bus.ts';
import { ReceivedEvent } from '../../shared/event/receivedEvent.ts';
import { exactJson, isObject, UndecidableError } from '../../shared/text/json.ts';
import { knownSecrets } from '../../shared/text/masker.ts';
import { safeText } from '../../shared/text/safeText.ts';

/** More characters of one event's data aren't shown. */
const MOST_CHARACTERS = 65_536;

/** The data of an event, as people read it: JSON with indentation, otherwise its text, as lines that only show. */
export function dataLines(message: ReceivedMessage): readonly string[] {
  const event = new ReceivedEvent(message);
  const { dataBase64 } = event;
  const text = dataBase64 === null ? textOf(event) : `in base64: ${dataBase64}`;
  const end = Math.min(text.length, MOST_CHARACTERS);
  // Before it's taken apart: a secret may have several lines.
  const lines = knownSecrets.mask(text, end).split(/\r\n|\n|\r/);
  const more = text.length > end ? [`… (${text.length - end} more characters)`] : [];
  return [...lines.map((line) => safeText(line, MOST_CHARACTERS)), ...more];
}

/** The same as programs read it; undefined where it's longer, or nested more deeply, than what is shown. */
export function dataFields(message: ReceivedMessage): Readonly<Record<string, unknown>> | undefined {
  const event = new ReceivedEvent(message);
  const { dataBase64 } = event;
  if ((dataBase64 ?? textOf(event)).length > MOST_CHARACTERS) return undefined;
  try {
    return dataBase64 === null ? { data: safeValue(valueOf(event)) } : { data: null, dataBase64 };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function textOf(event: ReceivedEvent): string {
  const value = valueOf(event);
  try {
    return typeof value === 'string' ? value : exactJson(value, 2);
  } catch {
    return Buffer.from(event.message.payload).toString();
  }
}

/** With its integers as they are; rounded where that can't be had. */
function valueOf(event: ReceivedEvent): unknown {
  try {
    return event.view.data;
  } catch (error) {
    if (error instanceof UndecidableError) return event.data;
    throw error;
  }
}

function safeValue(value: unknown): unknown {
  if (typeof value === 'string') return safeText(value, MOST_CHARACTERS);
  if (Array.isArray(value)) return value.map(safeValue);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [safeText(name), safeValue(member)]));
}
