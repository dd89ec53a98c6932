/** The icons of the extension, the connection and the tasks, each from its drawing. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { ROOT } from '../build/manifest.ts';
import { digestOf, writePng } from './png.ts';

/** Each icon: its drawing, and its width and height in pixels. */
export const ICONS = {
  'images/extension-icon.png': { drawing: 'images/logo.svg', size: 128 },
  'images/connection-icon.png': { drawing: 'images/connection.svg', size: 32 },
  'images/bridge-icon.png': { drawing: 'images/bridge.svg', size: 32 },
  'tasks/PublishNatsEvent/icon.png': { drawing: 'images/publish.svg', size: 32 },
  'tasks/WaitForNatsEvent/icon.png': { drawing: 'images/wait.svg', size: 32 },
  'tasks/WaitForNatsEventAgentless/icon.png': { drawing: 'images/wait-agentless.svg', size: 32 },
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
  // The drawings have 32 units, of which one is one pixel at 72 dots per inch.
  const image = sharp(path.join(ROOT, drawing), { density: (72 * size) / 32 });
  await writePng(path.join(ROOT, icon), image.resize(size, size), COLOURS, digestOf(sourceOf(icon)));
}
