import { readFileSync } from 'node:fs';
import path from 'node:path';
import {
  ROOT,
  type ConnectionType,
  type InputDescriptor,
  type TaskInput,
  type TaskManifest,
} from '../build/manifest.ts';
import { isShown } from '../docs/visibleRule.ts';
import { MARKDOWN_STYLE, renderMarkdown } from './markdown.ts';
import { escapeHtml } from './page.ts';

const STYLE = `${MARKDOWN_STYLE}
body { margin: 0; padding: 12px 24px 24px; font: 14px/1.45 'Liberation Sans', sans-serif; color: #24292f; background: #fff; }
h1 { display: flex; align-items: center; gap: 10px; font-size: 19px; margin: 0 0 4px; }
.group { font-weight: bold; border-top: 1px solid #d0d7de; margin-top: 12px; padding: 6px 0 2px; }
.input { margin: 0 0 8px; padding-left: 16px; }
.label { font-weight: bold; }
.label i { font-style: normal; color: #b00020; }
.label small { font-weight: normal; color: #6a737d; }
.value { border: 1px solid #a8b0b8; border-radius: 2px; padding: 1px 8px; min-height: 22px; white-space: pre-wrap; }
.help { color: #57606a; font-size: 12.5px; }
.help p { margin: 0; }`;

/**
 * A task's form as the classic editor lays it out, for looking at: all groups open, and the help of each input below it
 * instead of behind its mark.
 *
 * @param values what is filled in besides the defaults; it decides which inputs are shown
 */
export function taskForm(task: TaskManifest, values: Readonly<Record<string, string>>): string {
  const { name, friendlyName, description, groups, inputs } = task;
  const icon = readFileSync(path.join(ROOT, 'tasks', name, 'icon.png')).toString('base64');
  const fieldsOf = (group: string | undefined): string =>
    inputs
      .filter((input) => input.groupName === group && isShown(input, inputs, values))
      .map((input) => inputField(input, values[input.name]))
      .join('\n');
  const parts = groups.map(
    ({ name: group, displayName, isExpanded = false }) =>
      `<div class="group">${isExpanded ? '▾' : '▸'} ${escapeHtml(displayName)}</div>\n${fieldsOf(group)}`,
  );
  const head = `<h1><img src="data:image/png;base64,${icon}" alt="">${escapeHtml(friendlyName)}</h1>`;
  return formPage([head, `<p>${escapeHtml(description)}</p>`, fieldsOf(undefined), ...parts]);
}

/** The form on which a service connection is made, with the fields of each way to sign in. */
export function connectionForm(type: ConnectionType): string {
  const icon = readFileSync(path.join(ROOT, type.icon)).toString('base64');
  return formPage([
    `<h1><img src="data:image/png;base64,${icon}" alt="">New ${escapeHtml(type.displayName)} service connection</h1>`,
    `<p>${escapeHtml(type.helpMarkDown)}</p>`,
    field(type.url.displayName, true, '', '', type.url.helpText),
    ...type.inputDescriptors.map(descriptorField),
    ...type.authenticationSchemes.flatMap(({ displayName, inputDescriptors }) => [
      `<div class="group">Authentication method: ${escapeHtml(displayName)}</div>`,
      ...inputDescriptors.map(descriptorField),
    ]),
  ]);
}

function inputField(input: TaskInput, given: string | undefined): string {
  const { type, label, required = false, options, helpMarkDown } = input;
  const value = given ?? input.defaultValue ?? '';
  return field(
    label,
    required,
    options === undefined ? type : `one of: ${Object.values(options).join(' / ')}`,
    options?.[value] ?? value,
    helpMarkDown,
  );
}

function descriptorField({ name, description, inputMode, validation }: InputDescriptor): string {
  return field(name, validation.isRequired, inputMode === 'textbox' ? '' : inputMode, '', description);
}

function field(label: string, isRequired: boolean, kind: string, value: string, help: string): string {
  return `<div class="input"><div class="label">${escapeHtml(label)}${isRequired ? ' <i>*</i>' : ''} <small>${escapeHtml(kind)}</small></div>
<div class="value">${escapeHtml(value)}</div>
<div class="help">${renderMarkdown(help)}</div></div>`;
}

function formPage(parts: readonly string[]): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<style>${STYLE}</style>
${parts.join('\n')}
</html>
`;
}
