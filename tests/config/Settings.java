// Prints what Kafka's own broker knows about its settings, as the golden file beside this one.
//
// Compile and run with the libraries of org.apache.kafka:kafka_2.13:3.9.1 on the class path:
//   javac -cp 'lib/*' Settings.java && java -cp 'lib/*:.' Settings > kafka-3.9.1.tsv

import java.util.*;
import org.apache.kafka.common.config.*;
import org.apache.kafka.storage.internals.log.LogConfig;

public class Settings {
    public static void main(String[] args) {
        Map<String, String> modes = kafka.server.DynamicBrokerConfig$.MODULE$.dynamicConfigUpdateModes();
        for (ConfigDef.ConfigKey key : sorted(kafka.server.KafkaConfig.configDef())) {
            String synonyms = kafka.server.DynamicBrokerConfig.brokerConfigSynonyms(key.name, false).mkString(",");
            print("broker", key, modes.getOrDefault(key.name, "read-only"), synonyms);
        }
        for (ConfigDef.ConfigKey key : sorted(LogConfig.configDefCopy())) {
            String synonyms = "";
            List<org.apache.kafka.server.config.ConfigSynonym> all =
                org.apache.kafka.server.config.ServerTopicConfigSynonyms.ALL_TOPIC_CONFIG_SYNONYMS.get(key.name);
            if (all != null)
                for (org.apache.kafka.server.config.ConfigSynonym one : all)
                    synonyms += (synonyms.isEmpty() ? "" : ",") + one.name();
            print("topic", key, "", synonyms);
        }
        String[][] overrides = {
            {"nonsense", "1"}, {"retention.ms", "abc"}, {"retention.ms", "-2"}, {"retention.ms", ""}, {"retention.ms", "1.5"},
            {"retention.ms", "9223372036854775808"}, {"retention.bytes", "-7"}, {"segment.bytes", "13"},
            {"segment.bytes", "2147483648"}, {"segment.ms", "0"}, {"segment.index.bytes", "3"}, {"segment.jitter.ms", "-1"},
            {"cleanup.policy", "shred"}, {"cleanup.policy", "delete,shred"}, {"cleanup.policy", ""},
            {"cleanup.policy", "compact, delete"}, {"compression.type", "brotli"}, {"compression.type", "ZSTD"},
            {"compression.gzip.level", "0"}, {"compression.gzip.level", "10"}, {"compression.lz4.level", "0"},
            {"compression.lz4.level", "18"}, {"compression.zstd.level", "23"}, {"min.insync.replicas", "0"},
            {"min.cleanable.dirty.ratio", "1.5"}, {"min.cleanable.dirty.ratio", "-0.1"}, {"min.cleanable.dirty.ratio", "half"},
            {"preallocate", "yes"}, {"preallocate", "TRUE"}, {"message.timestamp.type", "createtime"},
            {"message.format.version", "9.9"}, {"message.downconversion.enable", "0"}, {"unclean.leader.election.enable", "maybe"},
            {"max.message.bytes", "-1"}, {"flush.messages", "0"}, {"flush.ms", "-1"}, {"delete.retention.ms", "-1"},
            {"file.delete.delay.ms", "-1"}, {"index.interval.bytes", "-1"}, {"max.compaction.lag.ms", "0"},
            {"min.compaction.lag.ms", "-1"}, {"message.timestamp.before.max.ms", "-1"},
            {"message.timestamp.after.max.ms", "x"}, {"message.timestamp.difference.max.ms", "-5"},
            {"leader.replication.throttled.replicas", "1:2,3"}, {"leader.replication.throttled.replicas", "*"},
            {"leader.replication.throttled.replicas", "1:2,3:4"}, {"follower.replication.throttled.replicas", "a:b"},
            {"follower.replication.throttled.replicas", "*,1:2"}, {"follower.replication.throttled.replicas", ""},
            {"remote.storage.enable", "true"}, {"local.retention.ms", "-3"}, {"retention.ms", " 5 "}, {"segment.bytes", "+14"},
        };
        for (String[] pair : overrides) {
            Properties properties = new Properties();
            properties.setProperty(pair[0], pair[1]);
            verdict(pair[0] + "=" + pair[1], properties);
        }
        Properties lags = new Properties();
        lags.setProperty("min.compaction.lag.ms", "10");
        lags.setProperty("max.compaction.lag.ms", "5");
        verdict("min.compaction.lag.ms=10&max.compaction.lag.ms=5", lags);
    }

    static List<ConfigDef.ConfigKey> sorted(ConfigDef def) {
        return new ArrayList<>(new TreeMap<>(def.configKeys()).values());
    }

    static void print(String scope, ConfigDef.ConfigKey key, String mode, String synonyms) {
        String value = key.hasDefault() && key.defaultValue != null ? ConfigDef.convertToString(key.defaultValue, key.type) : "<null>";
        String valid = key.validator == null ? "" : key.validator.toString();
        if (valid.startsWith("[0.8.0")) valid = "release";
        System.out.println(String.join("\t", scope, key.name, key.type.toString(), value, valid,
            key.importance.toString(), key.internalConfig ? "internal" : "", mode, synonyms));
    }

    static void verdict(String what, Properties properties) {
        String said = "ok";
        try {
            LogConfig.validate(Map.of(), properties, new HashMap<>(), false, true);
        } catch (Exception e) {
            said = e.getMessage();
        }
        System.out.println(String.join("\t", "override", what, said));
    }
}
