/* A double of NVIDIA's libnvidia-ml.so.1 at the wire, with the ring of samples that a real driver keeps: 71 of them, 5 a
 * second, by the machine's clock.  What it says of each GPU stands in the file that STAND_IN_NVML names, a line each:
 *     UUID PERCENT     every sample of it has this value
 *     UUID none        there are no samples newer than asked for
 *     UUID ERROR       the call for samples returns this error, as -15
 *     init ERROR       nvmlInit returns it
 *     hang 0           the call for samples never returns
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define RING 71
#define STEP 200000ULL
#define MOST 16

typedef union { double d; unsigned int ui; unsigned long long ull; } Value;
typedef struct { unsigned long long at; Value value; } Sample;

static char names[MOST][96];
static char said[MOST][32];

static int read_file(int *init, int *hang) {
    const char *path = getenv("STAND_IN_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char name[96], value[32];
    int count = 0;
    *init = *hang = 0;
    while (file && count < MOST && fscanf(file, "%95s %31s", name, value) == 2) {
        if (!strcmp(name, "init")) *init = -atoi(value);
        else if (!strcmp(name, "hang")) *hang = 1;
        else {
            strcpy(names[count], name);
            strcpy(said[count++], value);
        }
    }
    if (file) fclose(file);
    return count;
}

int nvmlInitWithFlags(unsigned int flags) { int init, hang; (void)flags; read_file(&init, &hang); return init; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 15 ? "GPU is lost" : "Unknown Error"; }
int nvmlDeviceGetCount_v2(unsigned int *count) { int init, hang; *count = read_file(&init, &hang); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { *device = (void *)(size_t)(index + 1); return 0; }

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length) {
    int init, hang;
    read_file(&init, &hang);
    snprintf(uuid, length, "%s", names[(size_t)device - 1]);
    return 0;
}

int nvmlDeviceGetSamples(void *device, int type, unsigned long long since, int *kind, unsigned int *count, Sample *out) {
    int init, hang, made = 0;
    struct timeval now;
    read_file(&init, &hang);
    while (hang) sleep(1);
    const char *word = said[(size_t)device - 1];
    if (type != 1) return 2;
    if (!strcmp(word, "none")) return 6;
    if (word[0] == '-') return atoi(word + 1);
    gettimeofday(&now, NULL);
    unsigned long long last = (now.tv_sec * 1000000ULL + now.tv_usec) / STEP * STEP;
    for (unsigned long long at = last - (RING - 1) * STEP; at <= last; at += STEP) {
        if (at <= since) continue;
        if (out) {
            if ((unsigned int)made >= *count) break;
            out[made].at = at;
            out[made].value.ull = 0;
            out[made].value.ui = atoi(word);
        }
        made++;
    }
    if (!made) return 6;
    *kind = 1;
    *count = made;
    return 0;
}
