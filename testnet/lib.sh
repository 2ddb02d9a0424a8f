# What the scripts beside this file share: finding or installing what a new machine lacks, and building.
# Never run by itself.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

need_toolchain() {
    if ! command -v cargo >/dev/null; then
        echo "A Rust toolchain is needed (1.95 or later). Install one with:" >&2
        echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
        exit 1
    fi
}

# RocksDB is compiled from source: it takes a C++ compiler, and libclang to read its headers.
need_packages() { # what else the caller runs, each as PROGRAM:PACKAGE
    local missing=() also
    for also in "$@"; do
        command -v "${also%:*}" >/dev/null || missing+=("${also#*:}")
    done
    command -v c++ >/dev/null || missing+=(g++)
    command -v cmake >/dev/null || missing+=(cmake)
    local libclang
    # Not libclang-cpp, which machines with another part of LLVM have, and which reads no headers for us.
    libclang=$(find /usr/lib /usr/lib64 /usr/local/lib ${LIBCLANG_PATH:+"$LIBCLANG_PATH"} \
        \( -name 'libclang.so*' -o -name 'libclang-[0-9]*.so*' \) -print -quit 2>/dev/null || true)
    [ -n "$libclang" ] || missing+=(libclang-dev clang)
    [ ${#missing[@]} -eq 0 ] && return 0
    say "Missing: ${missing[*]}"
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    if command -v apt-get >/dev/null; then
        echo "installing with: ${sudo[*]} apt-get install -y ${missing[*]}"
        "${sudo[@]}" apt-get update -qq
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
    else
        echo "Install them with this system's package manager and start again." >&2
        exit 1
    fi
}

# The checker of the dependency policy is a program of its own, built once and kept beside what cargo builds; it has so
# little to do that building it fast counts for more than its speed.
need_deny() {
    command -v cargo-deny >/dev/null && return 0
    local tools
    tools=$(target_dir)/tools
    export PATH=$tools/bin:$PATH
    command -v cargo-deny >/dev/null && return 0
    say "Missing: cargo-deny"
    echo "installing with: cargo install cargo-deny --locked --debug --root $tools"
    CARGO_TARGET_DIR=$tools/target cargo install cargo-deny --version 0.20.2 --locked --debug --quiet --root "$tools"
    rm -rf "$tools/target"
}

# One profile and one feature set for everything, so that RocksDB is compiled once.
build() {
    say "Building (the first time takes 20 to 30 minutes on two cores, most of it RocksDB)"
    cargo build --release --workspace --locked "$@"
}

target_dir() {
    cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}
