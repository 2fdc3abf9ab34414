// The two functions of LZ4 that the FST writer calls, so that waveforms need no library: greedy matches, one hash table.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline int LZ4_compress_default(const char* source, char* target, int size, int capacity) {
    if (capacity < LZ4_compressBound(size)) return 0;
    const uint8_t* const in = reinterpret_cast<const uint8_t*>(source);
    uint8_t* out = reinterpret_cast<uint8_t*>(target);
    auto word = [&](int at) { uint32_t value; memcpy(&value, in + at, 4); return value; };
    auto length = [&](int rest) {  // what does not fit in 4 bits follows in bytes of 255
        for (rest -= 15; rest >= 255; rest -= 255) *out++ = 255;
        *out++ = uint8_t(rest);
    };
    auto literals = [&](int from, int count, int match) {
        *out++ = uint8_t((count < 15 ? count : 15) << 4 | (match < 15 ? match : 15));
        if (count >= 15) length(count);
        if (count) memcpy(out, in + from, count);
        out += count;
    };
    std::vector<int> seen(1 << 12, -1);
    int anchor = 0, at = 0;
    const int last_match = size - 12;  // the format ends with 5 literals, and no match starts in the last 12 bytes
    while (at <= last_match) {
        int& slot = seen[(word(at) * 2654435761u) >> 20];
        const int candidate = slot;
        slot = at;
        if (candidate < 0 || at - candidate > 65535 || word(candidate) != word(at)) { ++at; continue; }
        int count = 4;
        while (at + count < size - 5 && in[candidate + count] == in[at + count]) ++count;
        literals(anchor, at - anchor, count - 4);
        const int offset = at - candidate;
        *out++ = uint8_t(offset);
        *out++ = uint8_t(offset >> 8);
        if (count - 4 >= 15) length(count - 4);
        at += count;
        anchor = at;
    }
    literals(anchor, size - anchor, 0);
    return int(reinterpret_cast<char*>(out) - target);
}
