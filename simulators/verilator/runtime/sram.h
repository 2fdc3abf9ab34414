// The agent of a simple memory port: address, enable, write, data, with an optional grant, response or completion signal.
#pragma once
#include "core.h"

namespace heddle {

struct Pending { uint64_t address, ready; bool write; };

// P: static accessors; P::bytes (width of the data in bytes), P::has_grant, P::has_response, P::has_done.
template <class P, class Top> struct Sram : Binding {
    Queue<Pending> queue;
    uint64_t reads = 0, writes = 0, unit = 1, latest = 0;
    bool open = true, finishing = false;
    Random random;

    void clear() { queue.clear(); open = finishing = false; latest = 0; }
    void drive(Top& top, World& world, uint64_t cycle) {
        open = !world.resetting && !random.chance(memory->stall);
        P::grant(top, open);
        finishing = false;
        bool response = false;
        if (!queue.empty() && queue.front().ready <= cycle) {
            if (!queue.front().write) {
                uint8_t data[P::bytes] = {};
                fetch(queue.front().address, data);
                P::rdata(top, data);
            }
            response = !queue.front().write || P::has_done;
            finishing = P::has_done;
            queue.pop_front();
        }
        P::response(top, response);
        P::done(top, finishing);
    }
    // answers a memory of latency 0 within the cycle; true when the design has to see new data
    bool settle(Top& top, World& world) {
        if (latency != 0 || world.resetting || !P::enable(top) || P::write(top)) return false;
        uint8_t data[P::bytes] = {};
        const uint64_t address = P::addr(top) * unit;
        if (memory->holds(address, P::bytes)) fetch(address, data);
        P::rdata(top, data);
        return true;
    }
    void sample(Top& top, World& world, uint64_t cycle) {
        if (world.resetting || !P::enable(top)) return;
        if (P::has_grant && !open) return;
        if (P::has_done && (finishing || !queue.empty())) {  // the request stands until it is done
            world.moved += finishing;
            return;
        }
        const uint64_t address = P::addr(top) * unit;
        const bool write = P::write(top);
        if (!memory->holds(address, P::bytes)) {
            if (!P::has_enable && !write) return;  // a port without an enable reads whatever its address happens to be
            world.report.fail(RANGE, "%s: %s of %d bytes at address 0x%llx, the memory has 0x%llx bytes from 0x%llx, at cycle %llu", P::name,
                              write ? "write" : "read", P::bytes, (unsigned long long)address, (unsigned long long)memory->size,
                              (unsigned long long)memory->base, (unsigned long long)cycle);
            return;
        }
        world.moved += P::has_enable || write;
        ++(write ? writes : reads);
        if (write) {
            uint8_t data[P::bytes], strobes[(P::bytes + 7) / 8];
            P::wdata(top, data);
            P::strobe(top, strobes);
            for (int i = 0; i < P::bytes; ++i)
                if (strobes[i / 8] >> (i % 8) & 1) *memory->at(address + i) = data[i];
        }
        if (latency == 0 || (write && !P::has_done)) return;
        const uint64_t due = cycle + latency + random.below(memory->jitter + uint64_t{memory->jitter != 0});
        latest = due > latest ? due : latest + 1;
        queue.push_back({address, latest, write});
    }
    void fetch(uint64_t address, uint8_t* data) const { memcpy(data, memory->at(address), P::bytes); }
    void describe(Top& top, char* out, size_t size) const {
        snprintf(out, size, "%s: memory port, %llu reads, %llu writes, %zu open, enable %d", P::name, (unsigned long long)reads,
                 (unsigned long long)writes, queue.size(), int(P::enable(top)));
    }
    int counters(uint64_t* out) const {
        out[0] = reads; out[1] = writes;
        return 2;
    }
    template <class Archive> void state(Archive& a) {
        archive(a, queue); archive(a, reads); archive(a, writes); archive(a, latest); archive(a, open); archive(a, finishing); archive(a, random);
    }
};

}  // namespace heddle
