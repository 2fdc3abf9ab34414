// Agents of valid/ready streams: a source that offers queued items, a sink that collects them.
#pragma once
#include "core.h"

namespace heddle {

// P: static valid/ready accessors, P::bytes (size of one item), P::put / P::get between ports and packed bytes.
template <class P, class Top> struct StreamSource : Binding {
    std::vector<uint8_t> items;
    uint64_t next = 0, transfers = 0, waited = 0;
    bool offered = false;
    Random random;

    void clear() { offered = false; }
    void drive(Top& top, World& world, uint64_t) {
        if (!offered) {
            offered = !world.resetting && next * P::bytes < items.size() && !random.chance(stall);
            if (offered) P::put(top, items.data() + next * P::bytes);
        }
        P::valid(top, offered);
    }
    void sample(Top& top, World& world, uint64_t) {
        if (!offered) return;
        if (!P::ready(top)) { ++waited; return; }
        offered = false;
        ++next;
        ++transfers;
        ++world.moved;
        if (next * P::bytes == items.size()) {
            items.clear();
            next = 0;
        }
    }
    uint64_t pending() const { return items.size() / P::bytes - next; }
    void describe(Top& top, char* out, size_t size) const {
        snprintf(out, size, "%s: source, %llu sent, %llu queued, valid %d, ready %d", P::name, (unsigned long long)transfers,
                 (unsigned long long)pending(), offered, int(P::ready(top)));
    }
    int counters(uint64_t* out) const {
        out[0] = transfers; out[1] = waited;
        return 2;
    }
    template <class Archive> void state(Archive& a) {
        archive(a, items); archive(a, next); archive(a, transfers); archive(a, waited); archive(a, offered); archive(a, random);
    }
};

template <class P, class Top> struct StreamSink : Binding {
    std::vector<uint8_t> items;
    uint64_t transfers = 0, waited = 0;
    bool open = false, held = false;
    std::array<uint8_t, P::bytes> last{};
    Random random;

    void clear() { open = held = false; }
    void drive(Top& top, World& world, uint64_t) {
        open = !world.resetting && !random.chance(stall);
        P::ready(top, open);
    }
    void sample(Top& top, World& world, uint64_t cycle) {
        if (world.resetting) return;
        const bool valid = P::valid(top);
        if (held && check && P::has_ready) {
            std::array<uint8_t, P::bytes> now{};
            if (valid) P::get(top, now.data());
            if (!valid || now != last)
                world.report.fail(PROTOCOL, "%s: %s before it was accepted, at cycle %llu", P::name,
                                  valid ? "the payload changed" : "valid was withdrawn", (unsigned long long)cycle);
        }
        held = valid && !(open || !P::has_ready);
        if (!valid) return;
        if (held) {
            ++waited;
            P::get(top, last.data());
            return;
        }
        items.resize(items.size() + P::bytes);
        P::get(top, items.data() + items.size() - P::bytes);
        ++transfers;
        ++world.moved;
    }
    void describe(Top& top, char* out, size_t size) const {
        snprintf(out, size, "%s: sink, %llu received, valid %d, ready %d", P::name, (unsigned long long)transfers,
                 int(P::valid(top)), open);
    }
    int counters(uint64_t* out) const {
        out[0] = transfers; out[1] = waited;
        return 2;
    }
    template <class Archive> void state(Archive& a) {
        archive(a, items); archive(a, transfers); archive(a, waited); archive(a, open); archive(a, held); archive(a, last);
        archive(a, random);
    }
};

}  // namespace heddle
