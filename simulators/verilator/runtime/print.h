// What a design prints goes through one function, so that the text of a failed assertion reaches the error it causes.
#pragma once
extern "C" int heddle_print(const char* format, ...);
#define VL_PRINTF heddle_print
