"""The native loop that runs a region: binds the caller's buffers, then executes each primitive by address."""

from __future__ import annotations

from functools import cache

from heddle.core.codegen.build import Unit, shared_object
from heddle.core.codegen.target import host
from heddle.core.runtime.abi import ENTRY

_TEXT = f"""
%functions = type {{ptr, ptr, ptr, ptr}}
%binding = type {{ptr, i64}}
%step = type {{ptr, i64, ptr}}
%frame = type {{ptr, ptr, i64, ptr, i64, ptr, i64, ptr, i32}}

define i32 @{ENTRY}(ptr %inputs, ptr %outputs, ptr %constants, ptr %frame, ptr %services, ptr %team) nounwind {{
entry:
  %functions_at = getelementptr %frame, ptr %frame, i64 0, i32 0
  %functions = load ptr, ptr %functions_at
  %execute = load ptr, ptr %functions
  %p1 = getelementptr %functions, ptr %functions, i64 0, i32 1
  %bind = load ptr, ptr %p1
  %p2 = getelementptr %functions, ptr %functions, i64 0, i32 2
  %set_threads = load ptr, ptr %p2
  %p3 = getelementptr %functions, ptr %functions, i64 0, i32 3
  %get_threads = load ptr, ptr %p3
  %from_at = getelementptr %frame, ptr %frame, i64 0, i32 1
  %from = load ptr, ptr %from_at
  %from_count_at = getelementptr %frame, ptr %frame, i64 0, i32 2
  %from_count = load i64, ptr %from_count_at
  call void @bind_all(ptr %bind, ptr %from, i64 %from_count, ptr %inputs)
  %to_at = getelementptr %frame, ptr %frame, i64 0, i32 3
  %to = load ptr, ptr %to_at
  %to_count_at = getelementptr %frame, ptr %frame, i64 0, i32 4
  %to_count = load i64, ptr %to_count_at
  call void @bind_all(ptr %bind, ptr %to, i64 %to_count, ptr %outputs)
  %steps_at = getelementptr %frame, ptr %frame, i64 0, i32 5
  %steps = load ptr, ptr %steps_at
  %count_at = getelementptr %frame, ptr %frame, i64 0, i32 6
  %count = load i64, ptr %count_at
  %stream_at = getelementptr %frame, ptr %frame, i64 0, i32 7
  %stream = load ptr, ptr %stream_at
  %threads_at = getelementptr %frame, ptr %frame, i64 0, i32 8
  %threads = load i32, ptr %threads_at
  %before = call i32 %get_threads()
  call void %set_threads(i32 %threads)
  br label %running
running:
  %s = phi i64 [0, %entry], [%s1, %step]
  %more = icmp slt i64 %s, %count
  br i1 %more, label %step, label %done
step:
  %primitive_at = getelementptr %step, ptr %steps, i64 %s, i32 0
  %primitive = load ptr, ptr %primitive_at
  %nargs_at = getelementptr %step, ptr %steps, i64 %s, i32 1
  %nargs = load i64, ptr %nargs_at
  %narrow = trunc i64 %nargs to i32
  %args_at = getelementptr %step, ptr %steps, i64 %s, i32 2
  %args = load ptr, ptr %args_at
  %status = call i32 %execute(ptr %primitive, ptr %stream, i32 %narrow, ptr %args)
  %good = icmp eq i32 %status, 0
  %s1 = add i64 %s, 1
  br i1 %good, label %running, label %done
done:
  %result = phi i64 [0, %running], [%s1, %step]
  call void %set_threads(i32 %before)
  %fault = trunc i64 %result to i32
  ret i32 %fault
}}

define internal void @bind_all(ptr %bind, ptr %bindings, i64 %count, ptr %buffers) nounwind {{
entry:
  br label %binding
binding:
  %b = phi i64 [0, %entry], [%b1, %bind_one]
  %more = icmp slt i64 %b, %count
  br i1 %more, label %bind_one, label %done
bind_one:
  %memory_at = getelementptr %binding, ptr %bindings, i64 %b, i32 0
  %memory = load ptr, ptr %memory_at
  %number_at = getelementptr %binding, ptr %bindings, i64 %b, i32 1
  %number = load i64, ptr %number_at
  %buffer_at = getelementptr ptr, ptr %buffers, i64 %number
  %buffer = load ptr, ptr %buffer_at
  %status = call i32 %bind(ptr %memory, ptr %buffer)
  %b1 = add i64 %b, 1
  br label %binding
done:
  ret void
}}
"""
"""The host's interface (`core.runtime.abi`) with a frame of the device for its workspace.

Returns 0, or the number from 1 of the primitive that failed. The thread count is the caller's again afterwards.
"""


@cache
def native_loop() -> bytes:
    """The loop as a shared object for this machine."""
    target = host()
    return shared_object([Unit(f'target triple = "{target.triple}"\n{_TEXT}', explicit=True)], [ENTRY], target)
