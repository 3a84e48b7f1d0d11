// A plugin for qemu-user that counts the arm64 instructions a program executes:
// all, those that touch memory, and vector multiply-adds. It prints the three
// numbers when the program ends. Its interface is declared here because Debian
// ships no header for it.
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

typedef uint64_t plugin_id;
struct tb;
struct insn;

int qemu_plugin_version = 1;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct tb *));
size_t qemu_plugin_tb_n_insns(const struct tb *);
struct insn *qemu_plugin_tb_get_insn(const struct tb *, size_t);
const void *qemu_plugin_insn_data(const struct insn *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct tb *, int op, void *ptr, uint64_t imm);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
void qemu_plugin_outs(const char *);

enum { ADD_U64 = 0 };

static uint64_t all, memory, multiply_add;

static void translated(plugin_id id, struct tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), mem = 0, fmla = 0;

	(void)id;
	for (size_t i = 0; i < n; i++) {
		uint32_t word = *(const uint32_t *)qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i));

		mem += (word & 0x0a000000) == 0x08000000;  // Arm ARM C4.1: loads and stores
		fmla += (word & 0xffc0f400) == 0x4f801000; // FMLA (by element), four lanes
	}
	qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &all, n);
	qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &memory, mem);
	qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &multiply_add, fmla);
}

static void finished(plugin_id id, void *unused)
{
	char line[128];

	(void)id;
	(void)unused;
	snprintf(line, sizeof(line), "instructions %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", all, memory, multiply_add);
	qemu_plugin_outs(line);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info;
	(void)argc;
	(void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, finished, NULL);
	return 0;
}
