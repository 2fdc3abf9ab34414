// The part of zlib's interface that the FST writer calls: it stores, and the writer then prefers its uncompressed data.
#pragma once
#include <cstdint>
#include <cstring>
#include <initializer_list>

using uLong = unsigned long;
using uLongf = unsigned long;
using Bytef = unsigned char;
enum { Z_OK = 0, Z_BUF_ERROR = -5 };

inline uLong compressBound(uLong size) { return size + size / 65535 * 5 + 16; }

inline int compress2(Bytef* target, uLongf* capacity, const Bytef* source, uLong size, int) {
    if (*capacity < compressBound(size)) return Z_BUF_ERROR;
    Bytef* out = target;
    *out++ = 0x78;
    *out++ = 0x01;
    uint32_t a = 1, b = 0;
    uLong at = 0;
    do {  // stored blocks of deflate
        const uLong count = size - at < 65535 ? size - at : 65535;
        *out++ = at + count == size;
        for (uLong value : {count, ~count}) { *out++ = Bytef(value); *out++ = Bytef(value >> 8); }
        for (uLong i = 0; i < count; ++i) { a = (a + source[at + i]) % 65521; b = (b + a) % 65521; }
        memcpy(out, source + at, count);
        out += count;
        at += count;
    } while (at < size);
    for (uint32_t sum = b << 16 | a, i = 0; i < 4; ++i) *out++ = Bytef(sum >> (24 - 8 * i));
    *capacity = uLongf(out - target);
    return Z_OK;
}
