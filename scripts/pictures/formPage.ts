import { readFileSync } from 'node:fs';
import path from 'node:path';
import { readTask, ROOT, type TaskInput, type TaskName } from '../build/manifest.ts';
import { isShown } from '../docs/visibleRule.ts';
import { renderMarkdown } from './markdown.ts';
import { escapeHtml, page } from './page.ts';

const STYLE = `
.forms { flex: 1; display: flex; min-height: 0; background: #f3f5f7; gap: 18px; padding: 12px 24px 0; }
.form { flex: 1; position: relative; background: #fff; border: 1px solid #d0d7de; border-bottom: none; padding: 8px 18px; overflow: hidden; }
.form h2 { display: flex; align-items: center; gap: 10px; font-size: 17px; margin: 0 0 4px; }
.group { font-weight: bold; border-top: 1px solid #d0d7de; margin-top: 7px; padding: 4px 0 2px; }
.input { margin: 0 0 4px; padding-left: 16px; position: relative; }
.form > .input { padding-left: 0; }
.label { font-size: 13px; line-height: 18px; display: flex; gap: 6px; align-items: center; }
.label i { font-style: normal; color: #b00020; font-weight: bold; }
.info { width: 14px; height: 14px; border: 1px solid #6a737d; border-radius: 50%; font: 10px/12px 'Liberation Serif'; text-align: center; color: #6a737d; }
.value { border: 1px solid #a8b0b8; border-radius: 2px; padding: 1px 8px; font-size: 13px; line-height: 19px; white-space: pre-wrap; overflow: hidden; overflow-wrap: anywhere; }
.pick { display: flex; justify-content: space-between; }
.help { display: none; }
.open .help { display: block; position: absolute; z-index: 1; bottom: 5px; left: 24px; right: 8px; padding: 8px 12px; background: #fff; border: 1px solid #6a737d; border-radius: 3px; box-shadow: 0 3px 10px #0003; font-size: 12.5px; }
.help p { margin: 0; }
.help code { font-size: 11.5px; background: #eff1f3; }
[hidden] { display: none; }`;

/** A task's form: what it is filled with, and the input whose help is open. */
export interface FilledForm {
  readonly task: TaskName;
  readonly values: Readonly<Record<string, string>>;
  readonly helpOf?: string;
}

/** The forms of tasks as the classic editor lays them out from task.json: groups, marks, pick lists, help, hidden inputs. */
export function formPage(title: string, forms: readonly FilledForm[]): string {
  const note = 'Laid out from the task.json files; what does not apply is hidden';
  return page(title, note, STYLE, `<div class="forms">\n${forms.map(formOf).join('\n')}\n</div>`);
}

function formOf({ task, values, helpOf }: FilledForm): string {
  const { friendlyName, groups, inputs } = readTask(task);
  const icon = readFileSync(path.join(ROOT, 'tasks', task, 'icon.png')).toString('base64');
  const field = (input: TaskInput): string =>
    fieldOf(input, values[input.name], !isShown(input, inputs, values), input.name === helpOf);
  const parts = groups.map(({ name, displayName, isExpanded = false }) => {
    const fields = inputs.filter(({ groupName }) => groupName === name).map(field);
    return `<div class="group">${isExpanded ? '▾' : '▸'} ${escapeHtml(displayName)}</div>
<div${isExpanded ? '' : ' hidden'}>${fields.join('\n')}</div>`;
  });
  const first = inputs.filter(({ groupName }) => groupName === undefined).map(field);
  return `<div class="form"><h2><img src="data:image/png;base64,${icon}" alt="">${escapeHtml(friendlyName)}</h2>
${[...first, ...parts].join('\n')}</div>`;
}

function fieldOf(input: TaskInput, given: string | undefined, hidden: boolean, open: boolean): string {
  const { name, type, label, required, options, properties, helpMarkDown } = input;
  const value = given ?? input.defaultValue ?? '';
  const rows = type === 'multiLine' ? Number(properties?.rows ?? 2) : 1;
  const isPick = options !== undefined || type.startsWith('connectedService:');
  return `<div class="input${open ? ' open' : ''}" id="${name}"${hidden ? ' hidden' : ''}>
<div class="label">${escapeHtml(label)}${required === true ? ' <i>*</i>' : ''} <span class="info">i</span></div>
<div class="value${isPick ? ' pick' : ''}" style="height:${rows * 18 + 4}px"><span>${escapeHtml(options?.[value] ?? value)}</span>${isPick ? '<span>▾</span>' : ''}</div>
<div class="help">${renderMarkdown(helpMarkDown)}</div></div>`;
}
