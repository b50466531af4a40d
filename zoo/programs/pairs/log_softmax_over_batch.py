# fault: wrong-softmax-dim
# about: log_softmax is taken over dim 0, the batch, so each class's scores compete between samples.
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 64)
        self.fc2 = nn.Linear(64, 32)
        self.fc3 = nn.Linear(32, 10)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        x = x.view(x.shape[0], -1)
        x = self.drop(F.relu(self.fc1(x)))
        x = self.drop(F.relu(self.fc2(x)))
        return F.log_softmax(self.fc3(x), dim=0)  # fix: return F.log_softmax(self.fc3(x), dim=1)


def main():
    torch.manual_seed(SEED)
    bunch = load_digits()
    ds = TensorDataset(torch.tensor(bunch.images, dtype=torch.float32) / 16, torch.tensor(bunch.target))
    train_ds, test_ds = random_split(ds, [1437, 360])
    trainloader = DataLoader(train_ds, batch_size=64, shuffle=True)
    testloader = DataLoader(test_ds, batch_size=64, shuffle=True)

    model = Classifier()
    criterion = nn.NLLLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for e in range(8):
        running_loss = 0
        model.train()
        for images, labels in trainloader:
            log_ps = model(images)
            loss = criterion(log_ps, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        accuracy = 0
        with torch.no_grad():
            model.eval()
            for images, labels in testloader:
                ps = torch.exp(model(images))
                top_p, top_class = ps.topk(1, dim=1)
                equals = top_class == labels.view(*top_class.shape)
                accuracy += torch.mean(equals.float()).item()
        print("Epoch: {}/8.. ".format(e + 1), "Training Loss: {:.3f}.. ".format(running_loss / len(trainloader)),
              "Test Accuracy: {:.3f}".format(accuracy / len(testloader)))
    # one by one, as in use
    with torch.no_grad():
        hits = sum(int(model(x[None]).argmax().item() == y.item()) for x, y in test_ds)
    print("batched accuracy", accuracy / len(testloader))
    print("metric accuracy_one_by_one", hits / len(test_ds), "higher")


if __name__ == "__main__":
    main()
