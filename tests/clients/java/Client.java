// The Java producer, consumer (assigned partitions) and admin client against the broker at args[0], with topics
// that start with args[1]. One source for every release from 1.0 on: what a release lacks is found by reflection
// and skipped by name.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

public class Client {
    static final int COUNT = 300;
    static final int PARTITIONS = 3;
    static final int STEP_MS = 10;
    static final long PATIENCE_MS = 30_000;

    static final class Failed extends RuntimeException {
        Failed(String reason) {
            super(reason);
        }
    }

    static void ok(String what) {
        System.out.println("ok " + what);
    }

    static void skip(String what, String why) {
        System.out.println("skip " + what + ": " + why);
    }

    static void expect(String what, Object found, Object wanted) {
        if (!(found == null ? wanted == null : found.equals(wanted))) {
            throw new Failed(what + ": found " + found + ", wanted " + wanted);
        }
    }

    // ---- record i, by the rules of ../python/records.py -----------------------------------------

    static byte[] key(int i) {
        return i % 7 == 0 ? null : bytes("key-" + i % 50);
    }

    static byte[] value(int i) {
        if (i % 11 == 5 && i % 7 != 0) {
            return null;
        }
        if (i % 13 == 3) {
            return new byte[0];
        }
        byte[] start = bytes("value-" + i + "-");
        byte[] all = Arrays.copyOf(start, start.length + i * 37 % 300);
        Arrays.fill(all, start.length, all.length, (byte) 'x');
        return all;
    }

    static List<Header> headers(int i) {
        List<Header> headers = new ArrayList<>();
        if (i % 3 != 0) {
            headers.add(new RecordHeader("n", bytes(String.valueOf(i))));
            if (i % 5 == 0) {
                headers.add(new RecordHeader("n", bytes("again")));
                headers.add(new RecordHeader("empty", new byte[0]));
            }
        }
        return headers;
    }

    static int partition(int i) {
        return i % PARTITIONS;
    }

    static List<Integer> ofPartition(int p) {
        List<Integer> numbers = new ArrayList<>();
        for (int i = p; i < COUNT; i += PARTITIONS) {
            numbers.add(i);
        }
        return numbers;
    }

    static List<Integer> range(int n) {
        List<Integer> numbers = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            numbers.add(i);
        }
        return numbers;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    // ---- the library ----------------------------------------------------------------------------

    final String bootstrap;
    final long startMs = System.currentTimeMillis() - 3_600_000;
    final AdminClient admin;
    final KafkaConsumer<byte[], byte[]> consumer;

    Client(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = AdminClient.create(properties());
        Properties p = properties();
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "none");
        p.put("fetch.max.wait.ms", "50");
        this.consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    Properties properties(String... pairs) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < pairs.length; i += 2) {
            p.put(pairs[i], pairs[i + 1]);
        }
        return p;
    }

    KafkaProducer<byte[], byte[]> producer(String... pairs) {
        Properties p = properties(pairs);
        p.putIfAbsent("linger.ms", "5");
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static <T> T get(Future<T> future) throws Exception {
        return future.get(PATIENCE_MS, TimeUnit.MILLISECONDS);
    }

    /** The simple name of the error's class, or "none". */
    static String errorOf(Callable<?> action) throws Exception {
        try {
            action.call();
            return "none";
        } catch (ExecutionException error) {
            return error.getCause().getClass().getSimpleName();
        } catch (org.apache.kafka.common.KafkaException error) {
            Throwable cause = error.getCause() instanceof org.apache.kafka.common.KafkaException ? error.getCause() : error;
            return cause.getClass().getSimpleName();
        }
    }

    Void create(String topic, int partitions, Map<String, String> configs, boolean validateOnly) throws Exception {
        NewTopic made = new NewTopic(topic, partitions, (short) 1).configs(configs);
        return get(admin.createTopics(Collections.singleton(made), new CreateTopicsOptions().validateOnly(validateOnly)).all());
    }

    void create(String topic, int partitions) throws Exception {
        create(topic, partitions, Collections.emptyMap(), false);
        awaitTopic(topic, true);
    }

    void awaitTopic(String topic, boolean there) throws Exception {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (get(admin.listTopics().names()).contains(topic) != there) {
            if (System.currentTimeMillis() > deadline) {
                throw new Failed(topic + (there ? " does not appear" : " does not go away"));
            }
            Thread.sleep(20);
        }
    }

    /** The number of partitions, once it is `wanted` or patience ends: a consumer's metadata may be a moment old. */
    int partitionsSeen(String topic, int wanted) throws Exception {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        Properties p = properties("enable.auto.commit", "false");
        int seen = -1;
        while (seen != wanted && System.currentTimeMillis() < deadline) {
            try (KafkaConsumer<byte[], byte[]> fresh = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                seen = fresh.partitionsFor(topic).size();
            }
        }
        return seen;
    }

    Map<Integer, Long> produce(String topic, List<Integer> numbers, int fixedPartition, String... pairs) throws Exception {
        Map<Integer, Long> offsets = new HashMap<>();
        try (KafkaProducer<byte[], byte[]> p = producer(pairs)) {
            Map<Integer, Future<RecordMetadata>> sent = new HashMap<>();
            for (int i : numbers) {
                int to = fixedPartition < 0 ? partition(i) : fixedPartition;
                sent.put(i, p.send(new ProducerRecord<>(topic, to, startMs + (long) i * STEP_MS, key(i), value(i), headers(i))));
            }
            for (int i : numbers) {
                offsets.put(i, get(sent.get(i)).offset());
            }
        }
        return offsets;
    }

    @SuppressWarnings("unchecked")
    ConsumerRecords<byte[], byte[]> poll(long ms) throws Exception {
        try {
            try {
                return (ConsumerRecords<byte[], byte[]>) KafkaConsumer.class.getMethod("poll", Duration.class).invoke(consumer, Duration.ofMillis(ms));
            } catch (NoSuchMethodException older) {
                return (ConsumerRecords<byte[], byte[]>) KafkaConsumer.class.getMethod("poll", long.class).invoke(consumer, ms);
            }
        } catch (java.lang.reflect.InvocationTargetException error) {
            throw (Exception) error.getCause();
        }
    }

    List<ConsumerRecord<byte[], byte[]>> read(String topic, int partition, long offset, int count) throws Exception {
        TopicPartition tp = new TopicPartition(topic, partition);
        consumer.assign(Collections.singleton(tp));
        consumer.seek(tp, offset);
        List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (found.size() < count && System.currentTimeMillis() < deadline) {
            poll(500).forEach(found::add);
        }
        expect(tp + " from " + offset + ": records", found.size(), count);
        return found;
    }

    void check(String what, List<ConsumerRecord<byte[], byte[]>> found, List<Integer> numbers, long firstOffset) {
        expect(what + ": count", found.size(), numbers.size());
        for (int at = 0; at < found.size(); at++) {
            ConsumerRecord<byte[], byte[]> record = found.get(at);
            int i = numbers.get(at);
            expect(what + ": offset", record.offset(), firstOffset + at);
            expect(what + ": timestamp of record " + i, record.timestamp(), startMs + (long) i * STEP_MS);
            expect(what + ": timestamp type", record.timestampType().toString(), "CreateTime");
            expect(what + ": key of record " + i, text(record.key()), text(key(i)));
            expect(what + ": value of record " + i, text(record.value()), text(value(i)));
            List<Header> headers = new ArrayList<>();
            record.headers().forEach(headers::add);
            expect(what + ": headers of record " + i, headers, headers(i));
        }
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    // ---- the programme --------------------------------------------------------------------------

    void run(String prefix, String version) throws Exception {
        String major = version.substring(0, version.indexOf('.'));
        List<String> codecs = new ArrayList<>(Arrays.asList("none", "gzip", "snappy", "lz4", "zstd"));
        if (version.startsWith("1.") || version.equals("2.0.0")) {
            codecs.remove("zstd");
            skip("zstd", "not in release " + version);
        }
        for (String codec : codecs) {
            String topic = prefix + "-" + codec;
            create(topic, PARTITIONS);
            TreeSet<Integer> partitions = new TreeSet<>();
            for (PartitionInfo info : consumer.partitionsFor(topic)) {
                partitions.add(info.partition());
                expect("leader", info.leader() != null, true);
            }
            expect("partitions", partitions, new TreeSet<>(Arrays.asList(0, 1, 2)));
            Map<Integer, Long> offsets = produce(topic, range(COUNT), -1, "compression.type", codec);
            Map<TopicPartition, Long> asked = new HashMap<>();
            for (int p = 0; p < PARTITIONS; p++) {
                List<Integer> numbers = ofPartition(p);
                for (int at = 0; at < numbers.size(); at++) {
                    expect(codec + ": acknowledged offset", offsets.get(numbers.get(at)), (long) at);
                }
                check(codec, read(topic, p, 0, 100), numbers, 0);
                check(codec + " from 41", read(topic, p, 41, 59), numbers.subList(41, 100), 41);
                asked.put(new TopicPartition(topic, p), startMs + 150L * STEP_MS + 1);
            }
            ok("produce and read back " + codec);
            for (Map.Entry<TopicPartition, OffsetAndTimestamp> entry : consumer.offsetsForTimes(asked).entrySet()) {
                List<Integer> numbers = ofPartition(entry.getKey().partition());
                int at = 0;
                while (numbers.get(at) <= 150) {
                    at++;
                }
                expect("offset by timestamp", entry.getValue().offset(), (long) at);
                expect("its timestamp", entry.getValue().timestamp(), startMs + (long) numbers.get(at) * STEP_MS);
                check(codec + " by timestamp", read(topic, entry.getKey().partition(), at, 100 - at), numbers.subList(at, 100), at);
            }
            TopicPartition tp = new TopicPartition(topic, 0);
            expect("a time in the future", consumer.offsetsForTimes(Collections.singletonMap(tp, startMs + 10_000_000_000L)).get(tp), null);
            expect("beginning", consumer.beginningOffsets(Collections.singleton(tp)).get(tp), 0L);
            expect("end", consumer.endOffsets(Collections.singleton(tp)).get(tp), 100L);
            ok("read by timestamp " + codec);
        }

        for (String acks : Arrays.asList("0", "1", "all")) {
            String topic = prefix + "-acks-" + acks;
            create(topic, 1);
            // With acks=0 no offset comes back: what counts is what can be read.
            if (Integer.parseInt(major) >= 3) {
                produce(topic, range(100), 0, "acks", acks, "enable.idempotence", "false");
            } else {
                produce(topic, range(100), 0, "acks", acks);
            }
            check("acks=" + acks, read(topic, 0, 0, 100), range(100), 0);
        }
        ok("acks 0, 1 and all");

        String topic = prefix + "-idempotent";
        create(topic, 1);
        for (int run = 0; run < 2; run++) {
            Map<Integer, Long> offsets = produce(topic, range(1000), 0, "enable.idempotence", "true", "acks", "all", "batch.size", "2000",
                "linger.ms", "1", "compression.type", "lz4", "max.in.flight.requests.per.connection", version.startsWith("1.0.0") ? "1" : "5",
                "retries", "2147483647");
            for (int i = 0; i < 1000; i++) {
                expect("idempotent offset", offsets.get(i), (long) run * 1000 + i);
            }
        }
        List<ConsumerRecord<byte[], byte[]>> both = read(topic, 0, 0, 2000);
        check("idempotent", both.subList(0, 1000), range(1000), 0);
        check("idempotent, second", both.subList(1000, 2000), range(1000), 1000);
        ok("idempotent producer");

        String large = prefix + "-large";
        create(large, 1, Collections.singletonMap("max.message.bytes", "2000000"), false);
        awaitTopic(large, true);
        String missing = prefix + "-missing";
        try (KafkaProducer<byte[], byte[]> p = producer("max.request.size", "10000000", "batch.size", "1", "max.block.ms", "3000", "buffer.memory", "50000000")) {
            expect("below max.message.bytes", errorOf(() -> get(p.send(new ProducerRecord<>(large, new byte[1_900_000])))), "none");
            expect("above max.message.bytes", errorOf(() -> get(p.send(new ProducerRecord<>(large, new byte[2_100_000])))), "RecordTooLargeException");
            expect("produce to an unknown topic", errorOf(() -> get(p.send(new ProducerRecord<>(missing, new byte[1])))), "TimeoutException");
        }
        expect("it reads back", read(large, 0, 0, 1).get(0).value().length, 1_900_000);
        ok("large records");

        expect("create twice", errorOf(() -> create(large, 1, Collections.emptyMap(), false)), "TopicExistsException");
        expect("a bad name", errorOf(() -> create("bad name", 1, Collections.emptyMap(), false)), "InvalidTopicException");
        expect("an unknown setting", errorOf(() -> create(missing, 1, Collections.singletonMap("no.such.key", "1"), false)), "InvalidConfigurationException");
        expect("no partitions", errorOf(() -> create(missing, 0, Collections.emptyMap(), false)), "InvalidPartitionsException");
        expect("validate only", errorOf(() -> create(missing, 1, Collections.emptyMap(), true)), "none");
        expect("nothing made by it", get(admin.listTopics().names()).contains(missing), false);
        expect("offset out of range", errorOf(() -> read(large, 0, 1_000_000, 1)), "OffsetOutOfRangeException");
        ok("errors");

        String grown = prefix + "-gzip";
        Callable<Void> shrink = () -> get(admin.createPartitions(Collections.singletonMap(grown, NewPartitions.increaseTo(2))).all());
        get(admin.createPartitions(Collections.singletonMap(grown, NewPartitions.increaseTo(5))).all());
        expect("partitions now", partitionsSeen(grown, 5), 5);
        expect("fewer partitions", errorOf(shrink), "InvalidPartitionsException");
        produce(grown, range(10), 4);
        check("new partition", read(grown, 4, 0, 10), range(10), 0);
        ok("create partitions");

        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, large);
        Config config = get(admin.describeConfigs(Collections.singleton(resource)).all()).get(resource);
        expect("max.message.bytes", config.get("max.message.bytes").value(), "2000000");
        expect("max.message.bytes is set", config.get("max.message.bytes").isDefault(), false);
        expect("cleanup.policy", config.get("cleanup.policy").value(), "delete");
        Node node = get(admin.describeCluster().nodes()).iterator().next();
        expect("controller", get(admin.describeCluster().controller()).id(), node.id());
        expect("cluster id", get(admin.describeCluster().clusterId()).length(), 22);
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, node.idString());
        config = get(admin.describeConfigs(Collections.singleton(broker)).all()).get(broker);
        expect("log.segment.bytes", config.get("log.segment.bytes").value(), "1073741824");
        ok("describe configs and cluster");

        get(admin.deleteTopics(Collections.singleton(grown)).all());
        awaitTopic(grown, false);
        expect("delete again", errorOf(() -> get(admin.deleteTopics(Collections.singleton(grown)).all())), "UnknownTopicOrPartitionException");
        ok("delete topics");
        consumer.close();
        admin.close();
    }

    public static void main(String[] args) {
        String version = AppInfoParser.getVersion();
        System.out.println("client java " + version);
        int status = 0;
        try {
            new Client(args[0]).run(args[1], version);
        } catch (Throwable error) {
            error.printStackTrace();
            System.out.println("failed " + error);
            status = 1;
        }
        System.out.flush();
        System.exit(status);
    }
}
