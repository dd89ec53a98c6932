/**
 * What the tasks call of the NATS library, with limits it does not have, put into its classes, and {@link OwnOptions}.
 * Without them, whoever answers on the port can make a step buffer bytes without end, or hang: the library waits for the end of
 * any line and message however long, leaves abandoned dials open, and, at anything it can't read, stops reading, prints it
 * and keeps the connection. Anyone in between could speak for the server: once TLS has begun, the library still believes
 * what came before it.
 */
import type { Socket } from 'node:net';
import {
  connect,
  createInbox,
  ErrorCode,
  Events,
  NatsError,
  type MsgHdrs,
  type NatsConnection,
  type ServerInfo,
} from 'nats';
import { MsgImpl } from 'nats/lib/nats-base-client/msg.js';
import { Parser } from 'nats/lib/nats-base-client/parser.js';
import { ProtocolHandler } from 'nats/lib/nats-base-client/protocol.js';
import { NodeTransport } from 'nats/lib/src/node_transport.js';
import { reasonOf } from '../../errors.ts';
import { isObject } from '../../text/json.ts';
import { quoted } from '../../text/safeText.ts';

export { connect, createInbox, ErrorCode, Events };

/** A server's longest line is its INFO, which names the servers of its cluster. */
export const MAX_LINE_BYTES = 256 * 1_024;
/** What a server can be configured to take at most (`max_payload`). */
const MAX_MESSAGE_BYTES = 64 * 1_024 * 1_024;
/** Answers to PINGs that the server has yet to take. */
const MAX_UNSENT_PONGS = 20_000;

const PONG = Buffer.from('PONG\r\n');
const LF = 0x0a;

/**
 * What a server says of itself, of the types that the tasks and the library rely on.
 *
 * @throws Error when it is not that
 */
function parseInfo(json: string): ServerInfo {
  const info: unknown = JSON.parse(json);
  if (!isObject(info)) throw new Error("its INFO isn't an object");
  const wrong = Object.entries(INFO_FIELDS).find(([name, isRight]) => !isRight(info[name]));
  if (wrong !== undefined) throw new Error(`its INFO has no usable ${wrong[0]}`);
  return info as unknown as ServerInfo;
}

const isText = (value: unknown) => value === undefined || typeof value === 'string';
const isFlag = (value: unknown) => value === undefined || typeof value === 'boolean';
const INFO_FIELDS: Readonly<Record<string, (value: unknown) => boolean>> = {
  version: (value) => typeof value === 'string' && /^v?\d+\.\d+\.\d+/.test(value),
  max_payload: (value) => Number.isSafeInteger(value) && Number(value) > 0,
  connect_urls: (value) => value === undefined || value === null || (Array.isArray(value) && value.every(isText)),
  nonce: isText,
  server_name: isText,
  domain: isText,
  headers: isFlag,
  jetstream: isFlag,
  ldm: isFlag,
  tls_required: isFlag,
  tls_available: isFlag,
  tls_verify: isFlag,
};

/** Options of ours. */
export interface OwnOptions {
  /**
   * To go on without TLS where the server offers none. The library knows TLS that must be, and TLS that may be but then
   * without settings; a second connection would be needed to find out.
   */
  readonly plainWithoutOffer: boolean;
  /** Called when the line that signs in has gone out, with whether that was over TLS. */
  readonly onSignIn: (isEncrypted: boolean) => void;
}

/** The code of the error that ends a dial where a server said more than its INFO before TLS. */
export const CLEAR_TEXT_BEFORE_TLS = 'CLEAR_TEXT_BEFORE_TLS';

/** The classes and the members replaced in them, some of which their types call private. */
interface OpenParser {
  readonly dispatcher: OpenHandler;
  /** The message that is being read, with the length it announced. */
  readonly ma?: { readonly size: number };
  readonly argBuf?: { readonly length: number };
  parse: (this: OpenParser, bytes: Uint8Array) => void;
}
interface OpenHandler {
  readonly transport: OpenTransport;
  readonly options: Partial<OwnOptions>;
  readonly infoReceived: boolean;
  processInfo: (this: OpenHandler, json: Uint8Array) => void;
  processPing: (this: OpenHandler) => void;
}
interface OpenTransport {
  readonly options: Partial<OwnOptions> & { tls?: unknown };
  readonly socket: Socket | undefined;
  readonly connected: boolean;
  /** What the parser has yet to read. */
  yields: Uint8Array[];
  done: boolean;
  _send: (frame: Uint8Array) => Promise<void>;
  close: (this: OpenTransport, error?: Error) => Promise<void>;
  isEncrypted: (this: OpenTransport) => boolean;
  peekInfo: (this: OpenTransport) => Promise<ServerInfo>;
  setupHandlers: (this: OpenTransport) => void;
}

const parser = Parser.prototype as unknown as OpenParser;
const { parse } = parser;
const failed = new WeakSet<OpenParser>();

parser.parse = function (bytes) {
  if (failed.has(this)) return;
  try {
    parse.call(this, bytes);
    if ((this.argBuf?.length ?? 0) > MAX_LINE_BYTES) throw new Error('a line without end');
    const size = this.ma?.size ?? 0;
    if (size > MAX_MESSAGE_BYTES) throw new Error(`a message of ${size} bytes`);
  } catch (error) {
    failed.add(this);
    const reason = `the server sent what cannot be read: ${quoted(reasonOf(error))}`;
    void this.dispatcher.transport.close(new Error(reason, { cause: error }));
  }
};

const headers = Object.getOwnPropertyDescriptor(MsgImpl.prototype, 'headers');
Object.defineProperty(MsgImpl.prototype, 'headers', {
  ...headers,
  /** `undefined` where the library would throw inside its reader, as for a value with a lone CR. We read them from the bytes. */
  get(): MsgHdrs | undefined {
    try {
      return headers?.get?.call(this) as MsgHdrs | undefined;
    } catch {
      return undefined;
    }
  },
});

const handler = ProtocolHandler.prototype as unknown as OpenHandler;
const { processInfo } = handler;
const unsentPongs = new WeakMap<OpenHandler, number>();

handler.processInfo = function (json) {
  parseInfo(Buffer.from(json).toString());
  const isFirst = !this.infoReceived;
  processInfo.call(this, json);
  // The first one is answered with the line that signs in.
  if (isFirst) this.options.onSignIn?.(this.transport.isEncrypted());
};

handler.processPing = function () {
  const unsent = (unsentPongs.get(this) ?? 0) + 1;
  if (unsent > MAX_UNSENT_PONGS) throw new Error('PINGs without end');
  unsentPongs.set(this, unsent);
  const taken = () => unsentPongs.set(this, (unsentPongs.get(this) ?? 0) - 1);
  this.transport._send(PONG).then(taken, taken);
};

const transport = NodeTransport.prototype as unknown as OpenTransport;
const { close, setupHandlers } = transport;

transport.close = function (error) {
  if (this.connected) return close.call(this, error);
  // The library does nothing here, and so a dial that ran out of time would go on.
  this.done = true;
  this.socket?.destroy();
  return Promise.resolve();
};

/** The library asks for the class of the socket, which makes Node load its TLS for links without it, too. */
transport.isEncrypted = function () {
  return this.socket !== undefined && 'encrypted' in this.socket;
};

/** Whether the socket of a connection is a TLS socket, whatever the server says of itself. */
export function isEncrypted(connection: NatsConnection): boolean {
  return (connection as unknown as { readonly protocol: OpenHandler }).protocol.transport.isEncrypted();
}

/** From here on the library speaks, and signs in: never in clear text where that was not allowed. */
transport.setupHandlers = function () {
  if (this.options.plainWithoutOffer === false && !this.isEncrypted())
    throw NatsError.errorForCode(ErrorCode.ServerOptionNotAvailable);
  setupHandlers.call(this);
};

/**
 * Like the library's, but time and memory grow only with what was sent, up to a limit; and when TLS follows,
 * nothing but the INFO may precede it, so that everything else the parser reads was decrypted.
 */
transport.peekInfo = function () {
  return new Promise((resolve, reject) => {
    const { socket } = this;
    let received = 0;
    let problem: Error | undefined;
    const fail = (error: Error) => {
      socket?.removeAllListeners();
      reject(error);
    };
    if (socket === undefined || this.done) {
      fail(new Error('it answered too late'));
      return;
    }
    socket.on('data', (chunk) => {
      this.yields.push(chunk);
      received += chunk.length;
      if (chunk.includes(LF)) {
        try {
          const bytes = Buffer.concat(this.yields);
          const info = infoIn(bytes);
          if (info.tls_required === true || info.tls_available === true) {
            // What comes later than this is read as TLS, which it isn't.
            if (!this.isEncrypted() && bytes.indexOf(LF) + 1 < bytes.length)
              throw new NatsError('it sent more than its INFO before TLS', CLEAR_TEXT_BEFORE_TLS);
          } else if (this.options.plainWithoutOffer === true) this.options.tls = null;
          socket.removeAllListeners();
          resolve(info);
        } catch (error) {
          fail(error as Error);
        }
      } else if (received > MAX_LINE_BYTES) fail(new Error('its first line has no end'));
    });
    socket.on('error', (error) => {
      problem = error;
    });
    socket.on('close', () => {
      // What the library itself makes of an end without an error.
      fail(problem ?? NatsError.errorForCode(ErrorCode.ConnectionRefused, new Error('undefined error')));
    });
  });
};

/** What the first line says. */
export function infoIn(bytes: Buffer): ServerInfo {
  const json = /^INFO[ \t]+([^\n]+?)\r?$/i.exec(bytes.subarray(0, bytes.indexOf(LF)).toString())?.[1];
  if (json === undefined) throw new Error("its first line isn't an INFO");
  return parseInfo(json);
}
