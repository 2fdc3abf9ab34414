// Agents of AXI4 and AXI-Lite: a memory for buses that the design leads, a register master for those that it follows.
#pragma once
#include "core.h"

namespace heddle {

enum Response : uint8_t { OKAY = 0, SLVERR = 2, DECERR = 3 };

struct Burst {
    uint64_t address, ready, id;
    uint32_t beats, done, length;
    uint8_t size, kind, response;

    // the address of beat `done`, by the rules of FIXED, INCR and WRAP bursts
    uint64_t beat() const {
        const uint64_t bytes = uint64_t{1} << size, aligned = address & ~(bytes - 1);
        if (kind == 0 || done == 0) return address;
        const uint64_t linear = aligned + done * bytes;
        if (kind == 1) return linear;
        const uint64_t whole = bytes * length;
        return (aligned & ~(whole - 1)) | (linear & (whole - 1));
    }
};

// P: static accessors for the signals of the bus, P::bytes (width of the data in bytes), P::reads, P::writes.
template <class P, class Top> struct AxiMemory : Binding {
    static constexpr int AHEAD = 16;  // beats of write data that may come before their address
    Queue<Burst> reads, writes, answers;
    Queue<std::array<uint8_t, P::bytes>> ahead;
    Queue<std::array<uint8_t, (P::bytes + 7) / 8 + 1>> ahead_strobes;
    uint64_t read_beats = 0, write_beats = 0, read_bursts = 0, write_bursts = 0, read_waits = 0, write_waits = 0;
    uint64_t latest_read = 0, latest_write = 0;
    bool ar_open = false, aw_open = false, w_open = false, r_shown = false, b_shown = false, w_wanted = false;
    bool ar_held = false, aw_held = false, w_held = false;
    Burst ar_last{}, aw_last{};
    std::array<uint8_t, P::bytes> w_last{};
    Random random;

    void clear() {
        reads.clear(); writes.clear(); answers.clear(); ahead.clear(); ahead_strobes.clear();
        ar_open = aw_open = w_open = r_shown = b_shown = w_wanted = ar_held = aw_held = w_held = false;
        latest_read = latest_write = 0;
    }

    void drive(Top& top, World& world, uint64_t cycle) {
        if (world.resetting) {
            if constexpr (P::reads) { P::arready(top, false); P::rvalid(top, false); }
            if constexpr (P::writes) { P::awready(top, false); P::wready(top, false); P::bvalid(top, false); }
            return;
        }
        memory->refill(cycle, P::bytes);
        if constexpr (P::reads) {
            ar_open = reads.size() < memory->outstanding && !random.chance(memory->stall);
            P::arready(top, ar_open);
            if (!r_shown && !reads.empty() && reads.front().ready <= cycle && !random.chance(memory->stall)) show(top, world);
            P::rvalid(top, r_shown);
        }
        if constexpr (P::writes) {
            aw_open = writes.size() + answers.size() < memory->outstanding && !random.chance(memory->stall);
            P::awready(top, aw_open);
            w_open = (!writes.empty() || ahead.size() < AHEAD) && memory->affords(P::bytes) && !random.chance(memory->stall);
            P::wready(top, w_open);
            if (!b_shown && !answers.empty() && answers.front().ready <= cycle && !random.chance(memory->stall)) {
                b_shown = true;
                P::bid(top, answers.front().id);
                P::bresp(top, answers.front().response);
            }
            P::bvalid(top, b_shown);
        }
    }

    void sample(Top& top, World& world, uint64_t cycle) {
        if (world.resetting) return;
        if constexpr (P::reads) sample_read(top, world, cycle);
        if constexpr (P::writes) sample_write(top, world, cycle);
    }

    void describe(Top& top, char* out, size_t size) const {
        int at = snprintf(out, size, "%s: memory", P::name);
        if constexpr (P::reads)
            at += snprintf(out + at, size - at, ", %llu reads done, %zu open, arvalid %d arready %d rvalid %d rready %d",
                           (unsigned long long)read_bursts, reads.size(), int(P::arvalid(top)), ar_open, r_shown, int(P::rready(top)));
        if constexpr (P::writes)
            snprintf(out + at, size - at,
                     ", %llu writes done, %zu without data, %zu without response, awvalid %d awready %d wvalid %d wready %d bvalid %d bready %d",
                     (unsigned long long)write_bursts, writes.size(), answers.size(), int(P::awvalid(top)), aw_open,
                     int(P::wvalid(top)), w_open, b_shown, int(P::bready(top)));
    }

    int counters(uint64_t* out) const {
        int n = 0;
        for (uint64_t value : {read_bursts, read_beats, read_waits, write_bursts, write_beats, write_waits}) out[n++] = value;
        return n;
    }
    template <class Archive> void state(Archive& a) {
        archive(a, reads); archive(a, writes); archive(a, answers); archive(a, ahead); archive(a, ahead_strobes);
        for (uint64_t* n : {&read_beats, &write_beats, &read_bursts, &write_bursts, &read_waits, &write_waits, &latest_read, &latest_write})
            archive(a, *n);
        for (bool* b : {&ar_open, &aw_open, &w_open, &r_shown, &b_shown, &w_wanted, &ar_held, &aw_held, &w_held}) archive(a, *b);
        archive(a, ar_last); archive(a, aw_last); archive(a, w_last); archive(a, random);
    }

private:
    static bool same(const Burst& a, const Burst& b) {
        return a.address == b.address && a.id == b.id && a.length == b.length && a.size == b.size && a.kind == b.kind;
    }

    void show(Top& top, World& world) {
        if (!memory->affords(P::bytes)) return;
        if (memory->turn && w_wanted && !memory->affords(2 * P::bytes)) return;  // the writes' turn
        memory->turn = true;
        memory->spend(P::bytes);
        r_shown = true;
        Burst& burst = reads.front();
        const uint64_t word = burst.beat() & ~uint64_t(P::bytes - 1);
        uint8_t data[P::bytes];
        if (burst.response != OKAY) memset(data, 0, sizeof data);
        else if (memory->holds(word, P::bytes)) memcpy(data, memory->at(word), sizeof data);
        else  // the last, partial word of a memory
            for (int i = 0; i < P::bytes; ++i) data[i] = memory->holds(word + i, 1) ? *memory->at(word + i) : 0;
        P::rdata(top, data);
        P::rid(top, burst.id);
        P::rresp(top, burst.response);
        P::rlast(top, burst.done + 1 == burst.beats);
        (void)world;
    }

    bool legal(const Burst& burst, World& world, const char* what, uint64_t cycle) {
        const uint64_t bytes = uint64_t{1} << burst.size;
        const char* rule = nullptr;
        if (bytes > uint64_t(P::bytes)) rule = "the size of a beat is wider than the bus";
        else if (burst.kind == 3) rule = "the burst type is the reserved one";
        else if (burst.kind == 0 && burst.length > 16) rule = "a FIXED burst has more than 16 beats";
        else if (burst.kind == 2 && (burst.length & (burst.length - 1) || burst.length < 2 || burst.length > 16))
            rule = "a WRAP burst has not 2, 4, 8 or 16 beats";
        else if (burst.kind == 2 && burst.address & (bytes - 1)) rule = "a WRAP burst does not start at an aligned address";
        else if (burst.kind == 1 && (burst.address >> 12) != ((burst.address & ~(bytes - 1)) + bytes * burst.length - 1) >> 12)
            rule = "the burst crosses a 4 KiB boundary";
        if (rule)
            world.report.fail(PROTOCOL, "%s: %s: address 0x%llx, %u beats of %llu bytes, at cycle %llu", what, rule,
                              (unsigned long long)burst.address, burst.length, (unsigned long long)bytes, (unsigned long long)cycle);
        return !rule;
    }

    // the response that a burst earns; without answer_errors an address outside the memory ends the run
    uint8_t judge(const Burst& burst, World& world, const char* what, uint64_t cycle) {
        const uint64_t bytes = uint64_t{1} << burst.size;
        uint64_t low = burst.address, count = bytes - (burst.address & (bytes - 1));
        if (burst.kind == 1) count += bytes * (burst.length - 1);
        if (burst.kind == 2) { count = bytes * burst.length; low &= ~(count - 1); }
        if (memory->faulty(low, count)) return SLVERR;
        if (memory->holds(low, count)) return OKAY;
        if (!answer_errors)
            world.report.fail(RANGE, "%s: %llu bytes at address 0x%llx, the memory has 0x%llx bytes from 0x%llx, at cycle %llu", what,
                              (unsigned long long)count, (unsigned long long)low, (unsigned long long)memory->size,
                              (unsigned long long)memory->base, (unsigned long long)cycle);
        return DECERR;
    }

    void steady(bool& held, Burst& last, bool valid, bool taken, const Burst& now, World& world, const char* what, uint64_t cycle) {
        if (held && check && (!valid || !same(last, now)))
            world.report.fail(PROTOCOL, "%s: %s before it was accepted, at cycle %llu", what,
                              valid ? "the address or its attributes changed" : "valid was withdrawn", (unsigned long long)cycle);
        held = valid && !taken;
        if (held) last = now;
    }

    void sample_read(Top& top, World& world, uint64_t cycle) {
        const bool valid = P::arvalid(top), taken = valid && ar_open;
        if (valid || ar_held) {
            Burst burst{P::araddr(top), 0, P::arid(top), uint32_t(P::arlen(top)) + 1, 0, uint32_t(P::arlen(top)) + 1,
                        uint8_t(P::arsize(top)), uint8_t(P::arburst(top)), OKAY};
            steady(ar_held, ar_last, valid, taken, burst, world, P::ar_name, cycle);
            if (taken && legal(burst, world, P::ar_name, cycle)) {
                burst.response = judge(burst, world, P::ar_name, cycle);
                const uint64_t due = cycle + memory->latency + random.below(memory->jitter + uint64_t{memory->jitter != 0});
                burst.ready = latest_read = due > latest_read ? due : latest_read;
                reads.push_back(burst);
                ++world.moved;
            }
            read_waits += valid && !taken;
        }
        if (r_shown && P::rready(top)) {
            r_shown = false;
            ++read_beats;
            ++world.moved;
            if (++reads.front().done == reads.front().beats) {
                reads.pop_front();
                ++read_bursts;
            }
        }
    }

    void sample_write(Top& top, World& world, uint64_t cycle) {
        const bool valid = P::awvalid(top), taken = valid && aw_open;
        if (valid || aw_held) {
            Burst burst{P::awaddr(top), 0, P::awid(top), uint32_t(P::awlen(top)) + 1, 0, uint32_t(P::awlen(top)) + 1,
                        uint8_t(P::awsize(top)), uint8_t(P::awburst(top)), OKAY};
            steady(aw_held, aw_last, valid, taken, burst, world, P::aw_name, cycle);
            if (taken && legal(burst, world, P::aw_name, cycle)) {
                burst.response = judge(burst, world, P::aw_name, cycle);
                writes.push_back(burst);
                ++world.moved;
            }
            write_waits += valid && !taken;
        }
        while (!ahead.empty() && !writes.empty() && world.report.outcome == RUNNING) {
            const auto& strobes = ahead_strobes.front();
            commit(world, ahead.front().data(), strobes.data(), strobes.back(), cycle);
            ahead.pop_front();
            ahead_strobes.pop_front();
        }
        const bool data = P::wvalid(top), fits = data && w_open;
        w_wanted = data && !fits;
        if (data || w_held) sample_data(top, world, cycle, data, fits);
        if (b_shown && P::bready(top)) {
            b_shown = false;
            answers.pop_front();
            ++write_bursts;
            ++world.moved;
        }
    }

    void sample_data(Top& top, World& world, uint64_t cycle, bool valid, bool taken) {
        std::array<uint8_t, P::bytes> data{};
        std::array<uint8_t, (P::bytes + 7) / 8 + 1> strobes{};
        if (valid) P::wdata(top, data.data());
        P::wstrb(top, strobes.data());
        strobes.back() = P::wlast(top);
        if (w_held && check && (!valid || data != w_last))
            world.report.fail(PROTOCOL, "%s: %s before it was accepted, at cycle %llu", P::w_name,
                              valid ? "the data changed" : "valid was withdrawn", (unsigned long long)cycle);
        w_held = valid && !taken;
        if (w_held) { w_last = data; ++write_waits; }
        if (!taken) return;
        memory->spend(P::bytes);
        memory->turn = false;
        ++world.moved;
        ++write_beats;
        if (!writes.empty() && ahead.empty()) commit(world, data.data(), strobes.data(), strobes.back(), cycle);
        else if (ahead.size() >= AHEAD)
            world.report.fail(PROTOCOL, "%s: more than %d beats of data without an address, at cycle %llu", P::w_name, AHEAD,
                              (unsigned long long)cycle);
        else {
            ahead.push_back(data);
            ahead_strobes.push_back(strobes);
        }
    }

    void commit(World& world, const uint8_t* data, const uint8_t* strobes, bool last, uint64_t cycle) {
        Burst& burst = writes.front();
        const uint64_t bytes = uint64_t{1} << burst.size, address = burst.beat();
        const uint64_t word = address & ~uint64_t(P::bytes - 1), low = address - word;
        const uint64_t high = (address & ~(bytes - 1)) + bytes - word;
        if (P::has_last && last != (burst.done + 1 == burst.beats))
            world.report.fail(PROTOCOL, "%s: wlast is %d at beat %u of %u, at cycle %llu", P::w_name, int(last), burst.done + 1,
                              burst.beats, (unsigned long long)cycle);
        bool whole = burst.response == OKAY && low == 0 && high == uint64_t(P::bytes);
        for (int i = 0; whole && i < P::bytes / 8; ++i) whole = strobes[i] == 0xFF;
        if (whole && P::bytes >= 8) memcpy(memory->at(word), data, P::bytes);
        else
            for (int i = 0; i < P::bytes; ++i) {
                if (!(strobes[i / 8] >> (i % 8) & 1)) continue;
                if (uint64_t(i) < low || uint64_t(i) >= high) {
                    world.report.fail(PROTOCOL, "%s: a strobe outside of the bytes that the burst addresses, lane %d of address 0x%llx, at cycle %llu",
                                      P::w_name, i, (unsigned long long)address, (unsigned long long)cycle);
                    return;
                }
                if (burst.response == OKAY) *memory->at(word + i) = data[i];
            }
        if (++burst.done < burst.beats) return;
        const uint64_t due = cycle + memory->latency + random.below(memory->jitter + uint64_t{memory->jitter != 0});
        burst.ready = latest_write = due > latest_write ? due : latest_write;
        answers.push_back(burst);
        writes.pop_front();
    }
};

// One access to the registers of the design: `data` is as wide as the widest bus that AXI knows.
struct Access {
    uint64_t address;
    bool write;
    uint8_t data[128], strobes[16], response;
};

template <class P, class Top> struct AxiMaster : Binding {
    Queue<Access> queue, finished;
    bool address_open = false, data_open = false, answering = false, shown = false, at_rest = false;
    uint64_t transfers = 0;
    Random random;

    void clear() {
        queue.clear();
        address_open = data_open = answering = shown = at_rest = false;
    }
    void drive(Top& top, World& world, uint64_t) {
        if (at_rest && queue.empty()) return;  // its outputs stand as they are
        at_rest = queue.empty();
        if (!shown && !answering && !queue.empty() && !world.resetting) {
            shown = address_open = true;
            const Access& access = queue.front();
            if (access.write) {
                if constexpr (P::writes) {
                    data_open = true;
                    P::awaddr(top, access.address);
                    P::awlen(top, 0);
                    P::awsize(top, P::log2_bytes);
                    P::awburst(top, 1);
                    P::wdata(top, access.data);
                    P::wstrb(top, access.strobes);
                    P::wlast(top, true);
                }
            } else if constexpr (P::reads) {
                P::araddr(top, access.address);
                P::arlen(top, 0);
                P::arsize(top, P::log2_bytes);
                P::arburst(top, 1);
            }
        }
        const bool writing = shown && queue.front().write, waiting = answering;
        if constexpr (P::writes) {
            P::awvalid(top, writing && address_open);
            P::wvalid(top, writing && data_open);
            P::bready(top, waiting && queue.front().write);
        }
        if constexpr (P::reads) {
            P::arvalid(top, shown && !writing && address_open);
            P::rready(top, waiting && !queue.front().write);
        }
    }
    void sample(Top& top, World& world, uint64_t cycle) {
        if (world.resetting) return;
        if (queue.empty()) {
            bool answer = false;
            if constexpr (P::writes) answer = answer || P::bvalid(top);
            if constexpr (P::reads) answer = answer || P::rvalid(top);
            if (answer && check) world.report.fail(PROTOCOL, "%s: a response that nobody asked for, at cycle %llu", P::name, (unsigned long long)cycle);
            return;
        }
        Access& access = queue.front();
        if (shown) {
            if (access.write) {
                if constexpr (P::writes) {
                    if (address_open && P::awready(top)) address_open = false, ++world.moved;
                    if (data_open && P::wready(top)) data_open = false, ++world.moved;
                }
            } else if constexpr (P::reads) {
                if (address_open && P::arready(top)) address_open = false, ++world.moved;
            }
            if (!address_open && !data_open) shown = false, answering = true;
            return;
        }
        if (!answering) return;
        if (access.write) {
            if constexpr (P::writes) {
                if (!P::bvalid(top)) return;
                access.response = P::bresp(top);
            }
        } else if constexpr (P::reads) {
            if (!P::rvalid(top)) return;
            P::rdata(top, access.data);
            access.response = P::rresp(top);
        }
        answering = false;
        ++transfers;
        ++world.moved;
        finished.push_back(access);
        queue.pop_front();
    }
    void describe(Top&, char* out, size_t size) const {
        snprintf(out, size, "%s: registers, %llu accesses done, %zu queued%s%s", P::name, (unsigned long long)transfers, queue.size(),
                 shown ? ", the address or data was not accepted" : "", answering ? ", the response is missing" : "");
    }
    int counters(uint64_t* out) const {
        out[0] = transfers;
        return 1;
    }
    template <class Archive> void state(Archive& a) {
        archive(a, queue); archive(a, finished); archive(a, address_open); archive(a, data_open); archive(a, answering);
        archive(a, shown); archive(a, at_rest); archive(a, transfers); archive(a, random);
    }
};

}  // namespace heddle
