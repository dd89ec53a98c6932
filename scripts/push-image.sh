#!/usr/bin/env bash
# Pushes the packed image of the bridge as it is. Runs in the AzureCLI task, which is signed in as the channel's identity.
# Usage: scripts/push-image.sh FOLDER REGISTRY TAG    (FOLDER holds image.tar.gz; REGISTRY is an Azure Container Registry's
#   name; TAG is the Git tag: v1.2.3 is pushed as nats-event-bridge:1.2.3)
set -euo pipefail

folder="$1" registry="$2" tag="$3"
fail() {
  echo "push-image: $1" >&2
  exit 1
}
[[ $tag =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "$tag is not a tag such as v1.2.3"
[[ $registry =~ ^[a-zA-Z0-9]{5,50}$ ]] || fail "$registry is not the name of a registry: set the variable of the group event-tasks-release"
[[ -f $folder/image.tar.gz ]] || fail "$folder does not hold image.tar.gz"

"${BASH_SOURCE[0]%/*}/checksums.sh" check "$folder"

image="$registry.azurecr.io/nats-event-bridge:${tag#v}"
az acr login --name "$registry"
docker load --input "$folder/image.tar.gz"
docker tag nats-event-bridge "$image"
docker push "$image"
docker image inspect --format '{{ index .RepoDigests 0 }}' "$image"
