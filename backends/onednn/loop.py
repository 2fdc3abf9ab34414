"""The native loop that runs a region: binds the caller's buffers, then executes each primitive by address."""

from __future__ import annotations

from functools import cache

from heddle.backends.onednn.program import ENTRY
from heddle.core.codegen.build import Unit, shared_object
from heddle.core.codegen.target import host

_TEXT = """
define i64 @heddle_onednn_run(ptr %functions, ptr %buffers, ptr %bindings, i64 %bound, ptr %steps, i64 %count,
                              ptr %stream, i32 %threads) nounwind {
entry:
  %execute = load ptr, ptr %functions
  %p1 = getelementptr ptr, ptr %functions, i64 1
  %bind = load ptr, ptr %p1
  %p2 = getelementptr ptr, ptr %functions, i64 2
  %set_threads = load ptr, ptr %p2
  %p3 = getelementptr ptr, ptr %functions, i64 3
  %get_threads = load ptr, ptr %p3
  %before = call i32 %get_threads()
  call void %set_threads(i32 %threads)
  br label %binding
binding:
  %b = phi i64 [0, %entry], [%b1, %bind_one]
  %more_b = icmp slt i64 %b, %bound
  br i1 %more_b, label %bind_one, label %running
bind_one:
  %entry_at = getelementptr {ptr, i64}, ptr %bindings, i64 %b
  %memory = load ptr, ptr %entry_at
  %number_at = getelementptr {ptr, i64}, ptr %bindings, i64 %b, i32 1
  %number = load i64, ptr %number_at
  %buffer_at = getelementptr ptr, ptr %buffers, i64 %number
  %buffer = load ptr, ptr %buffer_at
  %bind_status = call i32 %bind(ptr %memory, ptr %buffer)
  %b1 = add i64 %b, 1
  br label %binding
running:
  %s = phi i64 [0, %binding], [%s1, %next]
  %more = icmp slt i64 %s, %count
  br i1 %more, label %step, label %done
step:
  %step_at = getelementptr {ptr, i64, ptr}, ptr %steps, i64 %s
  %primitive = load ptr, ptr %step_at
  %nargs_at = getelementptr {ptr, i64, ptr}, ptr %steps, i64 %s, i32 1
  %nargs = load i64, ptr %nargs_at
  %narrow = trunc i64 %nargs to i32
  %args_at = getelementptr {ptr, i64, ptr}, ptr %steps, i64 %s, i32 2
  %args = load ptr, ptr %args_at
  %status = call i32 %execute(ptr %primitive, ptr %stream, i32 %narrow, ptr %args)
  %good = icmp eq i32 %status, 0
  %s1 = add i64 %s, 1
  br i1 %good, label %next, label %done
next:
  br label %running
done:
  %result = phi i64 [0, %running], [%s1, %step]
  call void %set_threads(i32 %before)
  ret i64 %result
}
"""
"""Returns 0, or the number from 1 of the primitive that failed. The thread count is the caller's again afterwards."""


@cache
def native_loop() -> bytes:
    """The loop as a shared object for this machine."""
    target = host()
    return shared_object([Unit(f'target triple = "{target.triple}"\n{_TEXT}', explicit=True)], [ENTRY], target)
