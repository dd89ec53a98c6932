import type { PubAck } from '../../bus.ts';
import { TaskError } from '../../errors.ts';
import { isPubAck, parseAnswer, type ApiError } from '../jetStreamApi.ts';
import { NONE, numberAt } from '../link/rawMessage.ts';

const CLOSING_BRACE = 0x7d;

/** An acknowledgement in JetStream's JSON. */
interface StreamAnswer {
  readonly stream: string;
  readonly seq: number;
  readonly duplicate?: boolean;
}

/**
 * Reads a stream's answers to messages. Nearly all are the same acknowledgement with a different sequence at its end, and of
 * those only the sequence is read: parsing the JSON of each would take a tenth of a batch.
 */
export class PubAcks {
  #stream = '';
  /** How the last acknowledgement begins, up to its sequence. */
  #head = NONE;

  /** The acknowledgement or the error in an answer. Throws `NoStream` when somebody else answered. */
  read(bytes: Uint8Array, subject: string): PubAck | { readonly error: ApiError } {
    const sequence = this.#sequenceIn(bytes);
    if (sequence !== undefined) return { stream: this.#stream, sequence, duplicate: false };
    const answer = parseAnswer<StreamAnswer>(bytes, isPubAck);
    if (answer?.kind === 'apiError') return answer;
    if (answer === undefined) {
      throw new TaskError(
        'NoStream',
        `The answer on "${subject}" does not come from a stream: a subscriber replied instead`,
        'Create a stream that captures the subject, or set delivery to core.',
      );
    }
    const { stream, seq, duplicate = false } = answer.response;
    this.#stream = stream;
    this.#head = headOf(bytes, `"seq":${String(seq)}}`, String(seq).length + 1);
    return { stream, sequence: seq, duplicate };
  }

  #sequenceIn(bytes: Uint8Array): number | undefined {
    const head = this.#head;
    const end = bytes.length - 1;
    if (head.length === 0 || end <= head.length || bytes[end] !== CLOSING_BRACE) return undefined;
    for (let index = 0; index < head.length; index++) if (bytes[index] !== head[index]) return undefined;
    const sequence = numberAt(bytes, head.length, end);
    return Number.isNaN(sequence) ? undefined : sequence;
  }
}

/** A copy of the text without its last bytes, if it ends like this; otherwise nothing. */
function headOf(bytes: Uint8Array, ending: string, length: number): Uint8Array {
  return Buffer.from(bytes).toString().endsWith(ending) ? Uint8Array.from(bytes.subarray(0, -length)) : NONE;
}
