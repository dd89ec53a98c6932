/** The icons of the extension, the connection and the tasks, and the listing's diagram, each from its drawing. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { ROOT } from '../build/manifest.ts';
import { digestOf, writePng } from './png.ts';

/** Each icon: its drawing, and its width in pixels. The Marketplace takes no SVG, so the diagram is packed as a PNG, too. */
export const ICONS = {
  'images/extension-icon.png': { drawing: 'images/logo.svg', size: 128 },
  'images/connection-icon.png': { drawing: 'images/connection.svg', size: 32 },
  'images/bridge-icon.png': { drawing: 'images/bridge.svg', size: 32 },
  'tasks/PublishNatsEvent/icon.png': { drawing: 'images/publish.svg', size: 32 },
  'tasks/WaitForNatsEvent/icon.png': { drawing: 'images/wait.svg', size: 32 },
  'tasks/WaitForNatsEventAgentless/icon.png': { drawing: 'images/wait-agentless.svg', size: 32 },
  'images/overview.png': { drawing: 'images/overview.svg', size: 1000 },
} as const;

/** White, blue, amber, and what lies between them and between blue and nothing; four bits a pixel. */
const COLOURS = 16;

/** What an icon is made from, for its digest. */
export function sourceOf(icon: keyof typeof ICONS): string {
  const { drawing, size } = ICONS[icon];
  return `${size}\n${readFileSync(path.join(ROOT, drawing), 'utf8')}`;
}

/** Draws an icon and writes it. */
export async function writeIcon(icon: keyof typeof ICONS): Promise<void> {
  const { drawing, size } = ICONS[icon];
  const file = path.join(ROOT, drawing);
  // Of the drawing's units, one is one pixel at 72 dots per inch.
  const units = Number(/viewBox="0 0 (\d+) /.exec(readFileSync(file, 'utf8'))?.[1]);
  const image = sharp(file, { density: (72 * size) / units });
  await writePng(path.join(ROOT, icon), image.resize(size), COLOURS, digestOf(sourceOf(icon)));
}
