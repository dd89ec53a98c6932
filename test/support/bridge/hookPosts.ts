/** The project and organization of the hooks that tests post. */
export const SHOP = { id: '6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c', name: 'Shop' };
export const ORGANIZATION = { organization: 'https://dev.azure.com/contoso/', organizationName: 'contoso' };

/** The body of a hook of the project Shop; `undefined` leaves a member out. */
export function hookBody(
  eventType: string,
  resource: unknown,
  members: Readonly<Record<string, unknown>> = {},
): Buffer {
  const baseUrl = ORGANIZATION.organization;
  return Buffer.from(
    JSON.stringify({
      id: '27646e0e-b520-4d2b-9411-bba7524947cd',
      eventType,
      publisherId: 'tfs',
      resource,
      resourceVersion: '2.0',
      resourceContainers: {
        collection: { id: 'c12d0eb8-e382-443b-9f9c-c52cba5014c2', baseUrl },
        account: { id: 'f844ec47-a9db-4511-8281-8b63f4eaf94e', baseUrl },
        project: { id: SHOP.id, baseUrl },
      },
      createdDate: '2026-09-19T13:03:27.0379153Z',
      ...members,
    }),
  );
}

/** A build of the project Shop that has ended. */
export const BUILD = {
  id: 4242,
  buildNumber: '20261128.1',
  result: 'succeeded',
  definition: { id: 139, name: 'web' },
  project: SHOP,
  sourceVersion: '0b6c2a8f1c0e4a5d9f0b6c2a8f1c0e4a5d9f0b6c',
  requestedFor: { id: '1', displayName: 'Zoë "Z" Example', uniqueName: 'zoe@contoso.example' },
};

/** The body of {@link BUILD}, with another id if one is given. */
export function buildBody(id?: string): Buffer {
  return hookBody('build.complete', BUILD, id === undefined ? {} : { id });
}
