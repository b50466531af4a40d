# fault: softmax-before-cross-entropy
# about: The cultivar classifier is a Sequential that ends in nn.Softmax, as in many tutorials for another library.
import argparse

import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler
from torch import nn


def parse():
    p = argparse.ArgumentParser(description="wine")
    p.add_argument("--epochs", type=int, default=60)
    p.add_argument("--lr", type=float, default=0.05)
    p.add_argument("--bs", type=int, default=16)
    p.add_argument("--seed", type=int, default=SEED)
    return p.parse_args()


def build(n_in, n_out):
    layers = [
        nn.Linear(n_in, 24),
        nn.Tanh(),
        nn.Linear(24, n_out),
        nn.Softmax(dim=1),  # fix:
    ]
    return nn.Sequential(*layers)


def main():
    args = parse()
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    X, y = load_wine(return_X_y=True)
    tr, te = next(StratifiedShuffleSplit(1, test_size=0.35, random_state=args.seed).split(X, y))
    sc = StandardScaler().fit(X[tr])
    Xtr, Xte = (torch.as_tensor(sc.transform(X[i]), dtype=torch.float) for i in (tr, te))
    ytr, yte = torch.as_tensor(y[tr]), torch.as_tensor(y[te])

    net = build(X.shape[1], 3)
    opt = torch.optim.SGD(net.parameters(), lr=args.lr)
    ce = nn.CrossEntropyLoss()
    for ep in range(args.epochs):
        perm = torch.randperm(len(Xtr))
        tot = 0.0
        for i in range(0, len(perm), args.bs):
            idx = perm[i : i + args.bs]
            opt.zero_grad()
            l = ce(net(Xtr[idx]), ytr[idx])
            l.backward()
            opt.step()
            tot += l.item() * len(idx)
        if ep % 10 == 9:
            print(f"ep {ep:3d}  loss {tot / len(perm):.4f}")
    with torch.no_grad():
        print("metric cross_entropy", float(ce(net(Xte), yte)), "lower")


main()
