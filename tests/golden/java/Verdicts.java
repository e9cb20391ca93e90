// What Java's broker says to damaged and lying batches of a producer, and what it stores of those it takes.
//
// In: nothing. Out: one JSON object a line on stdout: name, the batch as sent (base64), the error code (0: taken), the
// reason, and the batch as stored (base64) at offset 1000, leader epoch 17, with producer timestamps.
// The checks run in the broker's order: those of the request, base offset and CRC, then the validator of the log.

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.util.Base64;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.Crc32C;
import org.apache.kafka.common.utils.PrimitiveRef;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.MetadataVersion;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogValidator;
import org.apache.kafka.storage.internals.log.RecordValidationException;

public final class Verdicts {
    private static final int HEADER_BYTES = 61;

    public static void main(String[] args) {
        for (CompressionType type : new CompressionType[] {CompressionType.NONE, CompressionType.GZIP,
                CompressionType.SNAPPY, CompressionType.LZ4, CompressionType.ZSTD}) {
            byte[] honest = honest(type);
            line(type.name + " honest", honest);
            for (int at = 0; at < honest.length; at++) {
                for (int flip : new int[] {0x01, 0x80, 0xff}) {
                    byte[] changed = honest.clone();
                    changed[at] ^= (byte) flip;
                    if (at < 21) {
                        line(type.name + " byte " + at + " ^ " + flip, changed);
                    } else {
                        line(type.name + " byte " + at + " ^ " + flip + ", sealed", sealed(changed));
                    }
                }
            }
            for (int cut = 1; cut <= 12; cut++) {
                byte[] shorter = new byte[honest.length - cut];
                System.arraycopy(honest, 0, shorter, 0, shorter.length);
                line(type.name + " cut " + cut + ", sealed", sealed(sized(shorter)));
            }
            byte[] longer = new byte[honest.length + 3];
            System.arraycopy(honest, 0, longer, 0, honest.length);
            line(type.name + " longer, sealed", sealed(sized(longer)));
            byte[] none = new byte[HEADER_BYTES];
            System.arraycopy(honest, 0, none, 0, HEADER_BYTES);
            line(type.name + " without records, sealed", sealed(sized(none)));
        }
    }

    private static byte[] honest(CompressionType type) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(256), (byte) 2, Compression.of(type).build(),
            TimestampType.CREATE_TIME, 0L, -1L, 4711L, (short) 3, 12, false, -1);
        builder.append(1_700_000_000_000L, "key".getBytes(), "value".getBytes(),
            new Header[] {new RecordHeader("h", "x".getBytes())});
        builder.append(1_700_000_000_050L, null, "no key, no key, no key".getBytes());
        builder.append(1_699_999_999_993L, "tombstone".getBytes(), null);
        ByteBuffer buffer = builder.build().buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    private static byte[] sized(byte[] batch) {
        ByteBuffer.wrap(batch).putInt(8, batch.length - 12);
        return batch;
    }

    private static byte[] sealed(byte[] batch) {
        ByteBuffer.wrap(batch).putInt(17, (int) Crc32C.compute(batch, 21, batch.length - 21));
        return batch;
    }

    private static void line(String name, byte[] sent) {
        ObjectNode line = JsonNodeFactory.instance.objectNode();
        line.put("name", name);
        line.put("sent", Base64.getEncoder().encodeToString(sent));
        try {
            ByteBuffer stored = stored(MemoryRecords.readableRecords(ByteBuffer.wrap(sent.clone()))).buffer();
            byte[] bytes = new byte[stored.remaining()];
            stored.duplicate().get(bytes);
            line.put("code", 0);
            line.put("stored", Base64.getEncoder().encodeToString(bytes));
        } catch (RecordValidationException e) {
            line.put("code", Errors.forException(e.invalidException()).code());
            line.put("reason", e.invalidException().getMessage());
        } catch (Throwable e) {
            line.put("code", Errors.forException(e).code());
            line.put("reason", e.toString());
        }
        System.out.println(line);
    }

    private static MemoryRecords stored(MemoryRecords records) {
        ProduceRequest.validateRecords((short) 11, records);
        CompressionType codec = CompressionType.NONE;
        for (MutableRecordBatch batch : records.batches()) {
            if (batch.baseOffset() != 0) {
                throw new InvalidRecordException("The baseOffset of the record batch should be 0, but it is "
                    + batch.baseOffset());
            }
            batch.ensureValid();
            codec = batch.compressionType();
        }
        LogValidator validator = new LogValidator(records, new TopicPartition("t", 0), Time.SYSTEM, codec,
            Compression.of(codec).build(), false, (byte) 2, TimestampType.CREATE_TIME, Long.MAX_VALUE, Long.MAX_VALUE, 17,
            AppendOrigin.CLIENT, MetadataVersion.latestProduction());
        return validator.validateMessagesAndAssignOffsets(PrimitiveRef.ofLong(1000L), NOTHING, BufferSupplier.NO_CACHING)
            .validatedRecords;
    }

    private static final LogValidator.MetricsRecorder NOTHING = new LogValidator.MetricsRecorder() {
        @Override
        public void recordInvalidMagic() {
        }

        @Override
        public void recordInvalidOffset() {
        }

        @Override
        public void recordInvalidSequence() {
        }

        @Override
        public void recordInvalidChecksums() {
        }

        @Override
        public void recordNoKeyCompactedTopic() {
        }
    };
}
