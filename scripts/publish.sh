#!/usr/bin/env bash
# Publishes a packed extension as it is. Runs in the AzureCLI task, which is signed in as the publisher's Entra application.
# Usage: scripts/publish.sh FOLDER [ORGANIZATION…]    (FOLDER holds one .vsix; it is shared with the organizations)
set -euo pipefail

folder="$1"
shift
files=("$folder"/*.vsix)
[[ ${#files[@]} -eq 1 && -f ${files[0]} ]] || {
  echo "publish: $folder does not hold exactly one .vsix" >&2
  exit 1
}

"${BASH_SOURCE[0]%/*}/checksums.sh" check "$folder"

# The resource is Azure DevOps; the token lives for about an hour and is written nowhere.
token="$(az account get-access-token --resource 499b84ac-1321-427f-aa17-267ca6975798 --query accessToken --output tsv)"
echo "##vso[task.setsecret]$token"

sha256sum "${files[0]}"
arguments=(extension publish --vsix "${files[0]}" --auth-type pat --token "$token" --no-prompt)
if [[ $# -gt 0 ]]; then arguments+=(--share-with "$@"); fi
# Not by npm or npx, which would have the token too.
node node_modules/tfx-cli/_build/tfx-cli.js "${arguments[@]}"
