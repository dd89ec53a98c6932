import { Enums, Models, Serialize, Spec } from '@cyclonedx/cyclonedx-library';
import { createHash } from 'node:crypto';
import type { ThirdPartyPackage } from './thirdParty.ts';

/** What the bill of materials says of one bundle. */
export interface BundleContents {
  readonly code: Uint8Array;
  readonly packages: readonly ThirdPartyPackage[];
}

/**
 * The software bill of materials of what is shipped: CycloneDX 1.6 as JSON. It lists the bundles and the packages of which
 * code is in them, each with its version, licence, package URL and the SHA-512 of the archive that was installed.
 * The same contents give the same text: it has no time, and its serial number is made from its contents.
 *
 * @param bundles by their files
 */
export function sbomOf(
  shipped: { readonly id: string; readonly version: string; readonly license: string },
  bundles: ReadonlyMap<string, BundleContents>,
): string {
  const { Component, SpdxLicense } = Models;
  const whole = new Component(Enums.ComponentType.Application, shipped.id, {
    bomRef: shipped.id,
    version: shipped.version,
  });
  whole.licenses.add(new SpdxLicense(shipped.license));
  const bom = new Models.Bom({ metadata: new Models.Metadata({ component: whole }) });
  const packages = new Map<string, Models.Component>();
  for (const [file, { code, packages: bundled }] of bundles) {
    const bundle = new Component(Enums.ComponentType.File, file, { bomRef: file, version: shipped.version });
    bundle.hashes.set(Enums.HashAlgorithm['SHA-256'], createHash('sha256').update(code).digest('hex'));
    bom.components.add(bundle);
    whole.dependencies.add(bundle.bomRef);
    for (const thirdParty of bundled) {
      const component = packages.get(thirdParty.name) ?? componentOf(thirdParty);
      packages.set(thirdParty.name, component);
      bom.components.add(component);
      bundle.dependencies.add(component.bomRef);
    }
  }
  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  const options = { sortLists: true, space: 2 };
  bom.serialNumber = `urn:uuid:${uuidOf(serializer.serialize(bom, options))}`;
  return serializer.serialize(bom, options) + '\n';
}

function componentOf({ name, version, licence, integrity }: ThirdPartyPackage): Models.Component {
  const [, group, ownName = name] = /^(@[^/]+)\/(.+)$/.exec(name) ?? [];
  const purl = `pkg:npm/${name.replace(/^@/, '%40')}@${version}`;
  const component = new Models.Component(Enums.ComponentType.Library, ownName, {
    bomRef: purl,
    version,
    purl,
    ...(group === undefined ? {} : { group }),
  });
  const sha512 = Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex');
  component.hashes.set(Enums.HashAlgorithm['SHA-512'], sha512);
  component.licenses.add(new Models.SpdxLicense(licence));
  return component;
}

/** A UUID of version 8 (RFC 9562) from the SHA-256 of a text. */
function uuidOf(text: string): string {
  const bytes = createHash('sha256').update(text).digest();
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
