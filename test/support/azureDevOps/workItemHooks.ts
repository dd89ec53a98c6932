import type { HookBody, HookWorld, Person } from './hookWorld.ts';

export interface WorkItemValues {
  readonly workItemId?: number;
  readonly state?: string;
  readonly title?: string;
  /** Default 5.1-preview.3, which has people as objects; 1.0 has `Name <address>`. */
  readonly resourceVersion?: '1.0' | '5.1-preview.3';
}

/** Work items. */
export function workItemHooks(world: HookWorld) {
  const { ada, bob, project } = world;
  const idOf = ({ workItemId = 1 + world.random.below(20_000) }: WorkItemValues): number => workItemId;
  const urlOf = (id: number): string => world.api(`wit/workItems/${id}`);
  const personOf = (person: Person, { resourceVersion }: WorkItemValues) =>
    resourceVersion === '1.0' ? `${person.displayName} <${person.uniqueName}>` : world.identity(person);

  function fieldsOf(values: WorkItemValues): Record<string, unknown> {
    return {
      'System.AreaPath': project.name,
      'System.TeamProject': project.name,
      'System.IterationPath': `${project.name}\\Sprint 1`,
      'System.WorkItemType': 'Bug',
      'System.State': values.state ?? 'New',
      'System.Reason': 'New defect reported',
      'System.AssignedTo': personOf(bob, values),
      'System.CreatedDate': world.ago(600),
      'System.CreatedBy': personOf(ada, values),
      'System.ChangedDate': world.ago(),
      'System.ChangedBy': personOf(ada, values),
      'System.Title': values.title ?? 'Prices are missing',
      'Microsoft.VSTS.Common.Severity': '3 - Medium',
    };
  }

  function itemOf(id: number, rev: number, values: WorkItemValues, more: Record<string, unknown> = {}) {
    const links = { _links: { self: { href: urlOf(id) } }, url: urlOf(id) };
    return { id, rev, fields: { ...fieldsOf(values), ...more }, ...links };
  }

  function happened(event: string, id: number, values: WorkItemValues, resource: Record<string, unknown>): HookBody {
    return world.envelope({
      ...{ publisher: 'tfs', eventType: `workitem.${event}`, resource },
      resourceVersion: values.resourceVersion ?? '5.1-preview.3',
      text: `Bug #${id} ${event} by ${ada.displayName}.`,
    });
  }

  return {
    workItemCreated(values: WorkItemValues = {}): HookBody {
      const id = idOf(values);
      return happened('created', id, values, itemOf(id, 1, values));
    },

    /** Its `id` is the update's; the work item's is `workItemId`, and is also in `revision`. */
    workItemUpdated(values: WorkItemValues = {}): HookBody {
      const id = idOf(values);
      const state = values.state ?? 'Active';
      return happened('updated', id, values, {
        ...{ id: 900_000 + world.random.below(90_000), workItemId: id, rev: 2 },
        ...{ revisedBy: world.identity(ada), revisedDate: '9999-01-01T00:00:00Z' },
        fields: {
          'System.Rev': { oldValue: 1, newValue: 2 },
          'System.State': { oldValue: 'New', newValue: state },
          'System.ChangedDate': { oldValue: world.ago(600), newValue: world.ago() },
        },
        _links: { self: { href: `${urlOf(id)}/updates/2` }, parent: { href: urlOf(id) } },
        url: `${urlOf(id)}/updates/2`,
        revision: { ...itemOf(id, 2, { ...values, state }), url: `${urlOf(id)}/revisions/2` },
      });
    },

    /** As others captured, a comment fires this and also `workitem.updated`. */
    workItemCommented(values: WorkItemValues & { readonly comment?: string } = {}): HookBody {
      const id = idOf(values);
      const item = itemOf(id, 4, values, { 'System.History': values.comment ?? 'I see it, too.' });
      const commentVersionRef = { commentId: 7, version: 1, url: `${urlOf(id)}/comments/7/versions/1` };
      return happened('commented', id, values, { ...item, commentVersionRef });
    },

    /** Its URL is the recycle bin's. */
    workItemDeleted(values: WorkItemValues = {}): HookBody {
      const id = idOf(values);
      return happened('deleted', id, values, { ...itemOf(id, 5, values), url: world.api(`wit/recyclebin/${id}`) });
    },

    workItemRestored(values: WorkItemValues = {}): HookBody {
      const id = idOf(values);
      return happened('restored', id, values, itemOf(id, 6, values));
    },
  };
}
