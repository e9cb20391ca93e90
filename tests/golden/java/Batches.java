// Golden record batches, written by Java's kafka-clients, and what Java's own reader says is in them.
//
// In: nothing, or segment files of a real broker's log directory. Out: one JSON object a line on stdout: name, the bytes of one or more batches (base64), and each batch's
// header fields and records as Java reads them back.

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Random;
import java.util.function.Consumer;
import java.util.zip.CRC32C;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;

public final class Batches {
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    public static void main(String[] args) throws IOException {
        if (args.length > 0) {
            for (String file : args) {
                line(file, MemoryRecords.readableRecords(ByteBuffer.wrap(Files.readAllBytes(Path.of(file)))));
            }
            return;
        }
        for (CompressionType type : new CompressionType[] {CompressionType.NONE, CompressionType.GZIP,
                CompressionType.SNAPPY, CompressionType.LZ4, CompressionType.ZSTD}) {
            for (byte magic = 0; magic <= 2; magic++) {
                if (magic < 2 && type == CompressionType.ZSTD) {
                    continue;
                }
                String name = "magic-" + magic + "-" + type.name;
                TimestampType time = magic == 0 ? TimestampType.NO_TIMESTAMP_TYPE : TimestampType.CREATE_TIME;
                line(name, build(magic, type, time, 0L, -1L, (short) -1, -1, false, Batches::few));
                line(name + "-large", build(magic, type, time, 1_000_000_000_000L, -1L, (short) -1, -1, false, Batches::large));
                if (magic > 0) {
                    line(name + "-append-time", build(magic, type, TimestampType.LOG_APPEND_TIME, 5L, -1L, (short) -1, -1,
                        false, Batches::few));
                }
                if (magic == 2) {
                    line(name + "-idempotent", build(magic, type, time, 0L, 4711L, (short) 3, Integer.MAX_VALUE - 1, false,
                        Batches::few));
                    line(name + "-transactional", build(magic, type, time, 77L, Long.MAX_VALUE, Short.MAX_VALUE, 0, true,
                        Batches::few));
                    line(name + "-headers", build(magic, type, time, 0L, -1L, (short) -1, -1, false, Batches::headers));
                }
            }
        }
        line("commit-marker", MemoryRecords.withEndTransactionMarker(12L, 1_700_000_000_000L, 5, 4711L, (short) 3,
            new EndTransactionMarker(ControlRecordType.COMMIT, 9)));
        line("abort-marker", MemoryRecords.withEndTransactionMarker(13L, 1_700_000_000_000L, 5, 4711L, (short) 3,
            new EndTransactionMarker(ControlRecordType.ABORT, 10)));
    }

    private static MemoryRecords build(byte magic, CompressionType type, TimestampType time, long baseOffset, long producerId,
            short producerEpoch, int baseSequence, boolean transactional, Consumer<MemoryRecordsBuilder> fill) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(512), magic, Compression.of(type).build(),
            time, baseOffset, 1_700_000_001_234L, producerId, producerEpoch, baseSequence, transactional,
            magic == 2 ? 6 : -1);
        fill.accept(builder);
        return builder.build();
    }

    private static void few(MemoryRecordsBuilder builder) {
        long now = builder.magic() == 0 ? -1 : 1_700_000_000_000L;
        builder.append(now, "key".getBytes(), "value".getBytes());
        builder.append(now < 0 ? now : now + 50, null, "no key".getBytes());
        builder.append(now < 0 ? now : now - 7, "tombstone".getBytes(), null);
    }

    private static void large(MemoryRecordsBuilder builder) {
        Random random = new Random(42);
        for (int i = 0; i < 40; i++) {
            byte[] value = new byte[3000];
            for (int j = 0; j < value.length; j++) {
                value[j] = (byte) (j % 300 == 0 ? random.nextInt() : 'x');
            }
            builder.append(builder.magic() == 0 ? -1 : 1_700_000_000_000L + i, ("k" + i).getBytes(), value);
        }
    }

    private static void headers(MemoryRecordsBuilder builder) {
        builder.append(0L, new byte[0], new byte[0], new Header[] {
            new RecordHeader("a", "1".getBytes()), new RecordHeader("größe", null), new RecordHeader("", new byte[0])});
        builder.append(Long.MAX_VALUE, new byte[200], null, new Header[0]);
    }

    private static void line(String name, MemoryRecords records) {
        ByteBuffer buffer = records.buffer().duplicate();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        ObjectNode line = NODES.objectNode();
        line.put("name", name);
        line.put("bytes", Base64.getEncoder().encodeToString(bytes));
        ArrayNode batches = line.putArray("batches");
        for (MutableRecordBatch batch : records.batches()) {
            batch.ensureValid();
            ObjectNode shown = batches.addObject();
            shown.put("magic", batch.magic());
            shown.put("base_offset", batch.baseOffset());
            shown.put("last_offset", batch.lastOffset());
            shown.put("bytes", batch.sizeInBytes());
            shown.put("max_timestamp", batch.maxTimestamp());
            shown.put("codec", batch.compressionType().name);
            if (batch.magic() == RecordBatch.MAGIC_VALUE_V2) {
                shown.put("crc", batch.checksum());
                shown.put("leader_epoch", batch.partitionLeaderEpoch());
                shown.put("producer_id", batch.producerId());
                shown.put("producer_epoch", batch.producerEpoch());
                shown.put("base_sequence", batch.baseSequence());
                shown.put("last_sequence", batch.lastSequence());
                shown.put("transactional", batch.isTransactional());
                shown.put("control", batch.isControlBatch());
                shown.put("count", batch.countOrNull());
            }
            ArrayNode inside = shown.putArray("records");
            for (Record record : batch) {
                ObjectNode one = inside.addObject();
                one.put("offset", record.offset());
                one.put("timestamp", record.timestamp());
                one.put("key", base64(record.key()));
                one.put("value_crc32c", crc(record.value()));
                ArrayNode headers = one.putArray("headers");
                for (Header header : record.headers()) {
                    headers.add(Base64.getEncoder().encodeToString(header.key().getBytes()));
                    headers.add(header.value() == null ? null : Base64.getEncoder().encodeToString(header.value()));
                }
            }
        }
        System.out.println(line);
    }

    private static Long crc(ByteBuffer field) {
        if (field == null) {
            return null;
        }
        CRC32C crc = new CRC32C();
        crc.update(field.duplicate());
        return crc.getValue();
    }

    private static String base64(ByteBuffer field) {
        if (field == null) {
            return null;
        }
        byte[] bytes = new byte[field.remaining()];
        field.duplicate().get(bytes);
        return Base64.getEncoder().encodeToString(bytes);
    }
}
