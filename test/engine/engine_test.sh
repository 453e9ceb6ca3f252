#!/bin/sh
# engine_test.sh ISOCHRONE - engine_test.mjs under the Node that prepare.sh chose; skipped, with the
# reason, where prepare.sh was not run or could not fetch what it needs.
here=$(dirname "$0")
node=$here/node_modules/.bin/engine-node
if [ ! -x "$node" ]; then
    echo "1..0 # SKIP no llama.cpp here: test/engine/prepare.sh fetches it or says why not"
    exit 0
fi
exec "$node" "$here/engine_test.mjs" "$@"
