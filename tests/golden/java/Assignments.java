import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.admin.AdminUtils;
import org.apache.kafka.admin.BrokerMetadata;

/** What Java assigns: one line for each case, drawn from a fixed seed. */
public class Assignments {
    public static void main(String[] args) {
        Random random = new Random(11);
        for (int n = 0; n < 600; n++) {
            int brokers = 1 + random.nextInt(9);
            int racks = random.nextInt(5);
            List<BrokerMetadata> all = new ArrayList<>();
            StringBuilder line = new StringBuilder("{\"brokers\":[");
            int id = random.nextInt(3);
            for (int b = 0; b < brokers; b++) {
                String rack = racks == 0 ? null : "r" + random.nextInt(racks);
                all.add(new BrokerMetadata(id, Optional.ofNullable(rack)));
                line.append(b == 0 ? "" : ",").append("[").append(id).append(",")
                    .append(rack == null ? "null" : "\"" + rack + "\"").append("]");
                id += 1 + random.nextInt(3);
            }
            int replicas = 1 + random.nextInt(brokers);
            int partitions = 1 + random.nextInt(30);
            int index = random.nextInt(brokers);
            int first = random.nextInt(3) == 0 ? random.nextInt(25) : 0;
            Map<Integer, List<Integer>> made =
                new TreeMap<>(AdminUtils.assignReplicasToBrokers(all, partitions, replicas, index, first));
            line.append("],\"replicas\":").append(replicas).append(",\"partitions\":").append(partitions)
                .append(",\"index\":").append(index).append(",\"first\":").append(first)
                .append(",\"assigned\":").append(made.values().toString().replace(" ", "")).append("}");
            System.out.println(line);
        }
    }
}
