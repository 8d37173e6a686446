#!/usr/bin/env bash
# Format, lint, types, unused code: what fails soonest comes first.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"
oxfmt --check "src/**/*.ts" "test/**/*.ts" "scripts/**/*.ts" "bin/*.js"
oxlint --type-aware src test scripts bin
tsc -p .
knip
