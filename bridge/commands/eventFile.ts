import type { ReceivedMessage } from '../../shared/bus.ts';
import { isObject, parseObject } from '../../shared/text/json.ts';
import type { RouteSettings } from '../settings.ts';

/**
 * An event in a file: one that a task has written (`subject`, `headers`, `data`, …), a CloudEvent in JSON, or the data of one.
 * A file that doesn't name a subject is on the route's own.
 *
 * @param now when it comes, in milliseconds since the epoch
 */
export function eventInFile(bytes: Buffer, { subjects }: RouteSettings, now: number): ReceivedMessage {
  const json = parseObject(bytes.toString());
  const isView = json !== undefined && typeof json['subject'] === 'string' && isObject(json['headers']);
  const common = { place: undefined, storedAt: now, receivedAt: now };
  if (!isView) return { ...common, subject: subjects[0] ?? '', headers: new Map(), payload: bytes };
  const headers = Object.entries(json['headers'] as object).map(([name, values]): [string, readonly string[]] => [
    name.toLowerCase(),
    [values as unknown].flat().map(String),
  ]);
  const { data, dataBase64, subject, event: attributes } = json;
  const all = new Map(headers);
  if (isObject(attributes) && 'specversion' in attributes && !all.has('ce-specversion')) {
    // Its data stood in an envelope, which its attributes make again.
    const event = { ...attributes, ...(typeof dataBase64 === 'string' ? { data_base64: dataBase64 } : { data }) };
    return { ...common, subject: String(subject), headers: all, payload: Buffer.from(JSON.stringify(event)) };
  }
  const payload =
    typeof dataBase64 === 'string'
      ? Buffer.from(dataBase64, 'base64')
      : Buffer.from(typeof data === 'string' ? data : JSON.stringify(data ?? null));
  return { ...common, subject: String(subject), headers: all, payload };
}
